"""The promises on scores, in seconds; `python -m tests.quality.promises` measures them in full."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.quality import measures, recordings

RECORDING = Path(__file__).parents[1] / "data" / "stream" / "daily_temperature.csv"


@pytest.mark.parametrize("kind", ["noise", "machine", "quantised"])
def test_clean_data_keeps_to_twice_the_budget(kind):
    assert sum(measures.alarms_of_clean_data(kind, 600.0, seed) for seed in range(3)) / 3 <= 2.0


@pytest.mark.parametrize("step_s", [1, 60, 600])
def test_a_step_of_ten_deviations_is_found_within_six_readings(step_s):
    assert sum(measures.step_is_found(200, step_s, seed) for seed in range(20)) >= 19


@pytest.mark.parametrize("step_s", [60, 600])
def test_a_stuck_sensor_is_found_within_its_patience(step_s):
    assert all(measures.stuck_is_found("noise", step_s, seed, 2_000) for seed in range(3))


def test_a_stuck_sensor_that_tells_whole_numbers_is_found_within_its_patience():
    assert sum(measures.stuck_is_found("quantised", 1.0, seed, 1_000) for seed in range(10)) >= 9


@pytest.mark.parametrize("step_s", [1, 60, 600])
def test_a_slow_drift_is_found_before_its_end_by_a_sensor_of_300_readings(step_s):
    assert sum(measures.drift_is_found(300, step_s, seed) for seed in range(10)) >= 9


def test_a_fault_of_a_thousand_readings_is_one_at_its_end():
    assert measures.long_fault_is_scored_at_its_end(60.0, 1)


@pytest.mark.parametrize("what", ["one NaN", "one 1e300", "a field added late"])
@pytest.mark.parametrize("seed", [1, 3])
def test_what_befalls_one_reading_or_field_leaves_later_scores_where_they_were(what, seed):
    difference = measures.poisoning(what, seed)
    assert max(difference.of_device, difference.of_sensors) < 0.02


def test_a_device_that_lost_a_field_is_judged_as_one_that_never_had_it():
    difference = measures.poisoning("a field gone for ever", 1)
    assert difference.of_device < 0.02
    assert difference.of_sensors < 0.02


def test_the_culprit_of_a_fault_is_right():
    found = [measures.culprit_is_right(fault, 3) for fault in measures.FAULTS]
    assert [(alarmed, right) for alarmed, right, _ in found] == [(True, True)] * len(found)


def test_a_recording_of_one_signal_gets_from_the_stream_what_the_scorer_alone_says():
    assert recordings.rows_that_differ(recordings.read(RECORDING)) == 0


def test_a_recording_of_a_device_gets_from_the_stream_what_the_scorer_alone_says(tmp_path):
    """In SKAB's form, with sensors that repeat themselves: what cleaning thinks of that must not reach the scores."""
    numbers, rows = random.Random(8), ["datetime;Current;Flow Rate;Voltage;anomaly;changepoint"]
    for second in range(1_200):
        at = datetime.fromtimestamp(1_600_000_000 + second, UTC)
        voltage = 230 + second // 400 if second > 30 else numbers.randrange(230, 235)
        fault = 6.0 * (second > 900)
        rows.append(f"{at:%Y-%m-%d %H:%M:%S};{numbers.gauss(1, 0.1)};{numbers.gauss(30, 1) + fault};{voltage};0;0")
    file = tmp_path / "rig.csv"
    file.write_text("\n".join(rows))
    series = recordings.read(file)
    assert max(score.score for score in recordings.through_the_stream(series)) >= 0.5
    assert recordings.rows_that_differ(series) == 0
