"""Fleet, pacing, signal, device: what is published, when, and with which event time."""

import itertools

import numpy as np
import pytest
from simulator_builders import NOW, SECOND, device, exact, fleet, messages, publications, recording

from services.runtime.errors import ConfigurationError
from services.simulator.options import ReplayOptions
from services.simulator.pacing import check_ends_by
from services.simulator.recordings import RecordedAnomaly, Recording, load
from services.simulator.signal import Signal

RAMP = recording(*range(10))


def test_fleet_has_names_sites_and_recordings_in_turn():
    plans = fleet(RAMP, devices=3)
    assert [(p.tenant, p.site, p.device) for p in plans] == [
        ("demo", "plant-1", "pump-01"),
        ("demo", "plant-2", "pump-02"),
        ("demo", "plant-1", "pump-03"),
    ]
    assert fleet(RAMP, devices=100)[0].device == "pump-001"


def test_same_seed_gives_the_same_fleet_and_signal_and_another_seed_another():
    def said(seed: int) -> list[dict[str, float]]:
        return [Signal(plan).next() for plan in fleet(load("river:WaterFlow"), devices=5, seed=seed)]

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_devices_differ_in_place_pace_and_level():
    plans = fleet(load("river:WaterFlow"), devices=20)
    assert len({p.phase for p in plans}) > 15
    assert len({p.clock for p in plans}) == 20
    assert len({float(p.gain[0]) for p in plans}) == 20
    assert all(0.97 <= p.clock <= 1.03 for p in plans)


def test_device_stays_close_to_its_recording():
    (plan,) = fleet(load("river:WaterFlow"), devices=1)
    signal = Signal(plan)
    said = np.array([[*signal.next().values()] for _ in range(len(plan.recording))])
    for column in range(3):
        recorded = np.roll(plan.recording.values[:, column], -plan.phase)
        assert np.corrcoef(recorded, said[:, column])[0, 1] > 0.99


def test_switch_keeps_the_values_that_it_has():
    (plan,) = fleet(recording(*([0.0] * 9), 1.0), devices=1)
    signal = Signal(plan)
    assert {signal.next()["flow"] for _ in range(100)} == {0.0, 1.0}


def test_recording_goes_round():
    of = device(exact(RAMP, phase=8), limit=5)
    assert [m.values["flow"] for m in messages(of)] == [8.0, 9.0, 0.0, 1.0, 2.0]


def test_round_goes_on_past_a_block_of_computed_rows():
    signal = Signal(exact(recording(*range(7)), phase=3))
    assert [signal.next()["flow"] for _ in range(1000)] == [float((3 + n) % 7) for n in range(1000)]


def test_missing_value_leaves_its_sensor_out_of_the_message():
    rows = Recording("made", ("a", "b"), np.arange(2.0), np.array([[1.0, np.nan], [2.0, 3.0]]))
    assert [dict(m.values) for m in messages(device(exact(rows), limit=2))] == [{"a": 1.0}, {"a": 2.0, "b": 3.0}]


def test_live_readings_come_at_the_rate_with_event_time_of_publishing():
    sent = list(publications(device(exact(RAMP), limit=3, rate=4.0)))
    assert [due for due, _ in sent] == [NOW, NOW + 250_000, NOW + 500_000]
    assert [p.messages[0].event_us for _, p in sent] == [NOW, NOW + 250_000, NOW + 500_000]


def test_a_fast_clock_publishes_more_often():
    said = messages(device(exact(RAMP, clock=1.25), limit=2))
    assert said[1].event_us - said[0].event_us == 800_000


def test_reading_keeps_its_event_time_when_it_is_published_later():
    of = device(exact(RAMP), limit=1)
    assert of.take(NOW + 90 * SECOND).messages[0].event_us == NOW


def test_sequence_has_no_gap_from_history_to_live_readings():
    of = device(exact(RAMP), history=120, limit=150)
    said = messages(of)
    assert [m.seq for m in said] == list(range(150))
    assert all(b.event_us - a.event_us == SECOND for a, b in itertools.pairwise(said))


def test_history_is_uploaded_in_arrays_and_ends_by_now():
    sent = list(publications(device(exact(RAMP), history=120, limit=123)))
    assert [(len(p.messages), p.array) for _, p in sent] == [
        (50, True),
        (50, True),
        (20, True),
        (1, False),
        (1, False),
        (1, False),
    ]
    assert sent[2][1].messages[-1].event_us <= NOW
    assert [due >= NOW for due, _ in sent] == [False, False, False, True, True, True]


def test_recorded_spacing_is_kept_divided_by_speed():
    said = messages(device(exact(RAMP), limit=3, rate=None, speed=30.0))
    assert [m.event_us - NOW for m in said] == [0, 2 * SECOND, 4 * SECOND]


def test_recorded_spacing_goes_on_over_the_end_of_the_recording():
    uneven = Recording("made", ("flow",), np.array([0.0, 1.0, 5.0]), np.array([[1.0], [2.0], [3.0]]))
    said = messages(device(exact(uneven, phase=1), limit=5, rate=None))
    # 1 s, then 4 s, then (round the end) the usual spacing, which is the median of 1 s and 4 s.
    assert [(m.event_us - NOW) / SECOND for m in said] == [0.0, 4.0, 6.5, 7.5, 11.5]


def test_as_fast_as_acknowledged_takes_event_time_when_it_is_asked():
    of = device(exact(RAMP), limit=2, rate=0.0)
    assert of.due_us == 0
    assert [of.take(NOW + n * SECOND).messages[0].event_us for n in (1, 2)] == [NOW + SECOND, NOW + 2 * SECOND]


def test_stored_readings_keep_recorded_times_and_go_out_at_once():
    start = NOW - 1000 * SECOND
    sent = list(publications(device(exact(RAMP), limit=3, rate=None, start_us=start, live_us=start)))
    assert [p.messages[0].event_us - start for _, p in sent] == [0, 60 * SECOND, 120 * SECOND]
    assert [due for due, _ in sent] == [0, 0, 0]


def test_stored_readings_go_out_at_the_rate_where_there_is_one():
    start = NOW - 1000 * SECOND
    sent = list(publications(device(exact(RAMP), limit=3, rate=2.0, start_us=start, live_us=start)))
    assert [due - NOW for due, _ in sent] == [0, SECOND // 2, SECOND]
    assert [p.messages[0].event_us - start for _, p in sent] == [0, 60 * SECOND, 120 * SECOND]


def test_stored_readings_that_would_end_in_the_future_are_refused_with_the_fix():
    def check(ago_s: float, speed: float = 1.0) -> None:
        check_ends_by(NOW, exact(RAMP), ReplayOptions(start_us=NOW - round(ago_s * SECOND), speed=speed))

    check(540)
    check(54, speed=10.0)
    with pytest.raises(ConfigurationError, match="start 540 s ago or earlier, or take a speed of 2 or more"):
        check(270)


def test_the_speed_that_a_refusal_names_is_enough():
    check_ends_by(NOW, exact(RAMP), ReplayOptions(start_us=NOW - 270 * SECOND, speed=2.002))


def test_late_messages_go_out_though_the_device_is_asked_as_fast_as_possible():
    of = device(exact(RAMP), "late@pump-01:*:0+0:2", limit=4, rate=0.0)
    seqs = [p.messages[0].seq for n in range(5) if (p := of.take(NOW + n * SECOND)) is not None]
    assert seqs == [1, 0, 2, 3]


def test_machine_that_slept_goes_on_without_a_gap_in_sequence():
    of = device(exact(RAMP), limit=4)
    before = messages(of, 2)
    of.slept(3600 * SECOND)
    after = messages(of)
    assert [m.seq for m in (*before, *after)] == [0, 1, 2, 3]
    assert after[0].event_us - before[-1].event_us == 3601 * SECOND


def test_known_anomaly_of_the_recording_is_labelled_with_its_event_times():
    rows = recording(*range(10), anomalies=(RecordedAnomaly(3, 5, "flow", "leak"),))
    of = device(exact(rows), limit=20)
    said = messages(of)
    of.close()
    assert [(label.kind, label.description, label.from_us, label.to_us) for label in of.labels] == [
        ("recorded", "leak", said[3].event_us, said[5].event_us),
        ("recorded", "leak", said[13].event_us, said[15].event_us),
    ]


def test_known_anomaly_that_is_cut_short_is_labelled_up_to_the_cut():
    rows = recording(*range(10), anomalies=(RecordedAnomaly(3, 8, "flow", "leak"),))
    of = device(exact(rows), limit=5)
    said = messages(of)
    assert of.labels == []
    of.close()
    assert (of.labels[0].from_us, of.labels[0].to_us) == (said[3].event_us, said[4].event_us)


def test_two_known_anomalies_side_by_side_are_two_labels():
    rows = recording(*range(6), anomalies=(RecordedAnomaly(1, 2, "*", "a"), RecordedAnomaly(3, 4, "*", "b")))
    of = device(exact(rows), limit=6)
    messages(of)
    assert [label.description for label in of.labels] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"devices": 0}, "devices"),
        ({"tenant": "a/b"}, "tenant 'a/b'"),
        ({"sites": ("x", "")}, "site ''"),
        ({"files": ()}, "files"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"speed": 0.0}, "speed"),
        ({"history": 10, "rate": 0.0}, "history"),
        ({"history": 10, "start_us": NOW}, "history"),
        ({"duration_s": 0.0}, "duration"),
        ({"messages": 0}, "messages"),
        ({"connections": 0}, "connections"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options: dict[str, object], says: str):
    with pytest.raises(ConfigurationError, match=says):
        ReplayOptions(**options).check()


def test_history_is_the_healthy_past_and_the_first_minutes_are_calm():
    rows = load("river:WaterFlow")
    for each in fleet(rows, devices=30, history=600):
        assert len(each.stored) == 600
        assert not set(each.stored.tolist()) & rows.anomaly_at.keys()
        assert (each.rows(599, 2) == [each.stored[-1], each.phase]).all()
        assert not set(each.rows(600, 300).tolist()) & rows.anomaly_at.keys()
