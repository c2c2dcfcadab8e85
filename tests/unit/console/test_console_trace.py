"""`weir trace`: which records belong to a reading, and how its life is told."""

from __future__ import annotations

import msgspec
from console_records import NOON_US, alarm, anomaly, clean, score, window

from schemas.anomaly import AnomalyPhase
from services.console.influx import Point, _points
from services.console.story import RawPlace, Story, tell, to_json
from services.console.trace import belongs_to, choose, windows_of

SECOND = 1_000_000


def test_the_reading_nearest_to_the_typed_time_is_meant():
    records = [clean(at_us=NOON_US + ms * 1000, seq=ms) for ms in (0, 400, 900)]
    assert [r.seq for r in choose(records, NOON_US + 500_000, None)] == [400]


def test_a_time_without_any_reading_finds_none():
    assert choose([clean()], NOON_US + 2 * SECOND, None) == []


def test_seq_chooses_among_readings_of_one_time():
    records = [clean(seq=1), clean(seq=2)]
    assert len(choose(records, NOON_US, None)) == 2
    assert [r.seq for r in choose(records, NOON_US, 2)] == [2]


def test_a_repeat_after_a_crash_is_one_reading():
    assert len(choose([clean(), clean()], NOON_US, None)) == 1


def test_the_latest_record_of_each_window_of_the_reading_is_taken():
    found = windows_of(
        [
            window(revision=0, provisional=True),
            window(revision=0),
            window(revision=1),
            window(width_s=60),
            window("voltage"),
            window(start_us=NOON_US + 10 * SECOND),
            window(start_us=NOON_US - 10 * SECOND),
        ],
        clean(at_us=NOON_US + 3 * SECOND),
    )
    assert {(w.sensor, w.width_us // SECOND, w.revision, w.provisional) for w in found} == {
        ("flow", 10, 1, False),
        ("flow", 60, 0, False),
    }


def test_a_late_reading_is_in_no_window():
    assert windows_of([window()], clean(late=True)) == []


def test_the_anomaly_that_was_open_then_is_found_by_its_latest_record():
    first, later = anomaly(), anomaly(opened_us=NOON_US + 100 * SECOND)
    closed = anomaly(phase=AnomalyPhase.CLOSED, end_us=NOON_US + 20 * SECOND, revision=1)
    assert belongs_to([first, closed, later], NOON_US + 10 * SECOND) == closed
    assert belongs_to([first, closed, later], NOON_US + 50 * SECOND) is None
    assert belongs_to([first, closed, later], NOON_US + 150 * SECOND) == later
    assert belongs_to([first], NOON_US - SECOND) is None


def whole_story(**more):
    told = {
        "device": "demo/pump-01",
        "at_us": NOON_US,
        "clean": clean(),
        "raw": RawPlace(2, 17, "weir/v1/demo/plant-1/pump-01/telemetry", False, NOON_US + 5000, 3, b'{"\x1b'),
        "score": score(value=0.8),
        "windows": [window(), window(width_s=60)],
        "anomaly": anomaly(),
        "alarms": [alarm()],
        "points": [Point("telemetry", "readings", NOON_US * 1000 + 7, {"sensor": "flow"}, {"value": 101.5})],
    }
    return Story(**(told | more))


def test_a_life_is_told_from_mqtt_to_influxdb():
    lines = tell(whole_story()).splitlines()
    wanted = [
        "demo/pump-01 at 2026-05-01T12:00:00.000Z, seq 7",
        "MQTT        weir/v1/demo/plant-1/pump-01/telemetry",
        "partition 2 offset 17",
        "clean       flow 101.5",
        "windows     flow",
        "score       0.800",
        "expected 99 to 103",
        "anomaly     from 2026-05-01T12:00:00.000Z still open",
        "alarm       raised",
        "InfluxDB    telemetry readings flow @1777636800000000007: value 101.5",
    ]
    places = [next(n for n, line in enumerate(lines) if text in line) for text in wanted]
    assert places == sorted(places)
    assert all(line.isprintable() for line in lines)


def test_what_is_not_there_is_said():
    bare = tell(whole_story(raw=None, score=None, windows=[], anomaly=None, alarms=[], points=[], influx_says=""))
    for text in ("no longer in Kafka", "not found", "none closed yet", "in none", "no point yet"):
        assert text in bare
    assert "InfluxDB is away" in tell(whole_story(points=[], influx_says="InfluxDB is away"))


def test_without_a_reading_the_nearest_is_named():
    told = tell(Story("demo/pump-01", NOON_US, nearest_us=NOON_US + 60 * SECOND))
    assert "no reading at 2026-05-01T12:00:00.000Z" in told
    assert f"weir trace demo/pump-01 --at {NOON_US + 60 * SECOND}" in told


def test_json_holds_the_records_as_they_are():
    told = msgspec.json.decode(to_json(whole_story()))
    assert told["clean"]["values"] == {"flow": 101.5, "pressure": 4.5}
    assert told["raw"]["offset"] == 17
    assert told["points"][0]["fields"] == {"value": 101.5}


def test_points_are_read_from_influxdbs_answer():
    answer = [{"name": "scores", "tags": {"sensor": "", "device": "d"}, "columns": ["time", "score", "expected_low"],
               "values": [[5, 0.25, None]]}]  # fmt: skip
    assert list(_points("telemetry", answer)) == [Point("telemetry", "scores", 5, {"device": "d"}, {"score": 0.25})]
