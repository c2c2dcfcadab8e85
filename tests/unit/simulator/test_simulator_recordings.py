"""Recordings: what is read, and how a bad file says what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest

from services.runtime.errors import ConfigurationError
from services.simulator.recordings import Recording, RecordingError, load


@pytest.fixture
def csv(tmp_path: Path):
    """Reads text as a CSV file."""

    def read(text: str | bytes) -> Recording:
        path = tmp_path / "pump.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(str(path))

    return read


def test_water_flow_is_real_data_with_two_derived_sensors_and_its_four_known_anomalies():
    flow = load("river:WaterFlow")
    assert len(flow) == 1268
    assert flow.sensors == ("flow", "pressure", "motor_temperature")
    assert flow.derived == ("pressure", "motor_temperature")
    assert flow.values[0, 0] == 100.59
    assert flow.spacing_s == 3600.0
    inside = [flow.values[a.first : a.last + 1, 0] for a in flow.anomalies]
    assert [len(rows) for rows in inside] == [26, 22, 1, 24]
    assert all(abs(np.median(rows) - 102.3) > 5 for rows in inside)


def test_water_flow_pressure_falls_as_flow_rises():
    flow = load("river:WaterFlow")
    assert np.corrcoef(flow.values[:, 0], flow.values[:, 1])[0, 1] < -0.9
    assert 20 < flow.values[:, 2].min() < flow.values[:, 2].max() < 80


def test_nab_file(csv):
    read = csv("timestamp,value\n2014-04-01 00:00:00,20.0\n2014-04-01 00:05:00,20.5\n")
    assert read.sensors == ("value",)
    assert read.offsets_s.tolist() == [0.0, 300.0]
    assert read.values.tolist() == [[20.0], [20.5]]


def test_skab_file_separated_by_semicolons_with_truth_beside_the_signal(csv):
    read = csv(
        "datetime;Current;Volume Flow RateRMS;anomaly;changepoint\n"
        "2020-03-09 10:14:33;1.33;32.0;0.0;0.0\n"
        "2020-03-09 10:14:34;1.35;31.0;1.0;1.0\n"
        "2020-03-09 10:14:35;1.36;31.0;1.0;0.0\n"
        "2020-03-09 10:14:36;1.31;32.0;0.0;0.0\n"
        "2020-03-09 10:14:37;1.31;32.0;1.0;1.0\n"
    )
    assert read.sensors == ("Current", "Volume_Flow_RateRMS")
    assert [(a.first, a.last, a.sensor) for a in read.anomalies] == [(1, 2, "*"), (4, 4, "*")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1700000000", "1700000060"),
        ("1700000000000", "1700000060000"),
        ("1700000000000000", "1700000060000000"),
        ("1.7e18", "1.70000006e18"),
        ("2023-11-14T22:13:20Z", "2023-11-14T23:14:20+01:00"),
        ("2023-11-14 22:13:20", "2023-11-14 22:14:20"),
    ],
)
def test_time_is_unix_of_any_magnitude_or_iso_8601(csv, first: str, second: str):
    assert csv(f"ts,flow\n{first},1\n{second},2\n").offsets_s.tolist() == [0.0, 60.0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_told_by_the_header(csv, separator: str):
    text = "time,a,b\n1,2,3\n2,4,5\n".replace(",", separator)
    assert csv(text).sensors == ("a", "b")


def test_missing_values_are_kept_as_missing(csv):
    read = csv("ts,a,b\n1,,1\n2,NaN,2\n3,5.5,null\n")
    assert np.isnan(read.values[:2, 0]).all()
    assert read.values[2, 0] == 5.5
    assert np.isnan(read.values[2, 1])


def test_text_columns_blank_lines_and_byte_order_mark_are_passed_over(csv):
    read = csv(b"\xef\xbb\xbfts,flow,operator\r\n1,5,ann\r\n\r\n2,6,bob\r\n")
    assert read.sensors == ("flow",)
    assert len(read) == 2


def test_column_names_become_sensor_names(csv):
    assert csv("Time,Water flow [l/s],°C\n1,2,3\n2,3,4\n").sensors == ("Water_flow__l/s", "C")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: 0 time columns"),
        ("when,flow\n1,2\n2,3\n", "line 1: 0 time columns among ['when', 'flow']; call exactly one"),
        ("ts,time,flow\n1,1,2\n", "line 1: 2 time columns"),
        ("ts,flow\n1,2\n", "1 rows of data"),
        ("ts,flow\n1,2\n2\n", "line 3 has 1 columns, the header 2"),
        ("ts,flow\n1,2\nyesterday,3\n", "line 3, column 'ts': 'yesterday' is no time"),
        ("ts,flow\n1,2\ninf,3\n", "line 3, column 'ts': 'inf' is no time"),
        ("ts,flow\n1,2\n\n2,2\n1.5,3\n", "line 5 is earlier than the line before"),
        ("ts,flow\n1,2\n2,broken\n", "line 3, column 'flow': 'broken' is no finite number"),
        ("ts,flow\n1,2\n2,inf\n", "line 3, column 'flow': 'inf' is no finite number"),
        ('ts;flow\n1;2\n2;"3,5"\n', "line 3, column 'flow': '3,5' is no finite number"),
        ("ts,note\n1,a\n2,b\n", "no numeric column beside 'ts'"),
        ("ts,a b,a_b\n1,2,3\n2,3,4\n", "column 'a b' makes no sensor name of its own"),
        ("ts,[]\n1,2\n2,3\n", "column '[]' makes no sensor name"),
        (b"ts,flow\n1,\xff\n", "not UTF-8"),
        ("ts,flow\n1,2\n2," + "9" * 200_000 + "\n", "not a CSV file"),
    ],
)
def test_bad_file_names_the_line_and_the_fix(csv, text: str | bytes, says: str):
    with pytest.raises(RecordingError) as refused:
        csv(text)
    assert says in str(refused.value)
    assert "pump.csv" in str(refused.value)


def test_recording_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigurationError, match=r"/nowhere\.csv: No such file .* river:WaterFlow"):
        load("/nowhere.csv")
    with pytest.raises(ConfigurationError, match="river:Elec2: no such recording; built in: river:WaterFlow"):
        load("river:Elec2")
