"""Every fault, by example: what a healthy device would say, and what the faulty one publishes."""

import itertools
import json
import math

import pytest
from simulator_builders import NOW, SECOND, device, exact, messages, publications, recording

from services.runtime.errors import ConfigurationError
from services.simulator.fault_schedule import FaultSchedule, faults_of, random_faults
from services.simulator.faults import EVERY, Fault, FaultKind, Onset, inject, parse, sigma
from services.simulator.message import Message, Publication, encode


def healthy(flow: float = 100.0, *, at_s: float = 0.0) -> Message:
    at_us = NOW + round(at_s * SECOND)
    return Message(due_us=at_us, event_us=at_us, seq=7, values={"flow": flow, "pressure": 4.6})


def struck(kind: FaultKind, *, sensor: str = "flow", size: float | None = None) -> Onset:
    """A fault of 10 s that began at NOW; flow usually deviates by 2, and was 98 at the onset."""
    fault = Fault(kind, "pump-01", sensor, 0.0, 10.0, size)
    return Onset(fault, NOW, NOW + 10 * SECOND, sigma={"flow": 2.0, "pressure": 0.1}, last={"flow": 98.0})


def flows(kind: FaultKind, size: float | None, readings: int) -> list[object]:
    """What the faulty device says of a flow of 100, second by second."""
    onset = struck(kind, size=size)
    return [m.values["flow"] for n in range(readings) for m in inject(healthy(at_s=n), onset, n)]


def test_spike_is_far_off_to_one_side_and_the_other_in_turn():
    assert flows(FaultKind.SPIKE, 10.0, 3) == [120.0, 80.0, 120.0]


def test_step_shifts_by_its_size_in_sigma():
    assert flows(FaultKind.STEP, -6.0, 2) == [88.0, 88.0]


def test_drift_reaches_its_size_at_the_end():
    drifted = flows(FaultKind.DRIFT, 5.0, 11)
    assert drifted[0] == 100.0
    assert drifted[5] == 105.0
    assert drifted[10] == 110.0


def test_stuck_repeats_the_value_at_the_onset():
    assert flows(FaultKind.STUCK, None, 2) == [98.0, 98.0]


def test_nan_says_nan_null_and_text_in_turn():
    token, null, text = flows(FaultKind.NAN, None, 3)
    assert math.isnan(token)
    assert null is None
    assert text == "NaN"


def test_drop_out_publishes_nothing():
    assert inject(healthy(), struck(FaultKind.DROP_OUT, sensor=EVERY), 0) == []


def test_clock_jump_moves_the_device_clock_and_not_the_publishing():
    (sent,) = inject(healthy(), struck(FaultKind.CLOCK_JUMP, sensor=EVERY, size=-3600.0), 0)
    assert sent.event_us == NOW - 3600 * SECOND
    assert sent.due_us == NOW


def test_duplicate_publishes_the_same_message_twice():
    assert inject(healthy(), struck(FaultKind.DUPLICATE, sensor=EVERY), 0) == [healthy(), healthy()]


def test_late_moves_the_publishing_and_not_the_event_time():
    (sent,) = inject(healthy(), struck(FaultKind.LATE, sensor=EVERY, size=30.0), 0)
    assert sent.event_us == NOW
    assert sent.due_us == NOW + 30 * SECOND


def test_fault_of_one_sensor_leaves_the_others_alone():
    (sent,) = inject(healthy(), struck(FaultKind.STEP, size=6.0), 0)
    assert sent.values["pressure"] == 4.6


def test_fault_of_every_sensor_strikes_each_by_its_own_sigma():
    (sent,) = inject(healthy(), struck(FaultKind.STEP, sensor=EVERY, size=10.0), 0)
    assert sent.values == {"flow": 120.0, "pressure": pytest.approx(5.6)}


def test_faults_add_up():
    step, drop_out = struck(FaultKind.STEP, size=1.0), struck(FaultKind.DROP_OUT, sensor=EVERY)
    assert [inject(m, drop_out, 0) for m in inject(healthy(), step, 0)] == [[]]


def test_nan_reaches_the_wire_as_careless_firmware_writes_it():
    (sent,) = inject(healthy(), struck(FaultKind.NAN), 0)
    assert b'"flow":NaN' in encode(Publication((sent,)))


def test_sigma_is_robust_against_a_spike_in_the_signal():
    assert sigma([10.0, 11.0, 12.0, 11.0, 10.0, 1000.0]) < 2


def test_sigma_of_a_signal_that_does_not_move_is_a_hundredth_of_its_level():
    assert sigma([50.0] * 10) == 0.5
    assert sigma([0.0] * 10) == 1.0
    assert sigma([]) == 1.0


def test_struck_device_goes_back_to_normal_and_its_label_says_when():
    of = device(exact(recording(*[100.0] * 9)), "step@pump-01:flow:2+3:6", limit=9)
    said = messages(of)
    assert [m.values["flow"] for m in said] == [100.0, 100.0, 106.0, 106.0, 106.0, 106.0, 100.0, 100.0, 100.0]
    (label,) = of.labels
    assert (label.device, label.sensor, label.kind) == ("pump-01", "flow", "step")
    assert (label.from_us, label.to_us) == (said[2].event_us, said[5].event_us)


def test_sequence_goes_on_under_a_drop_out_so_that_the_loss_shows():
    of = device(exact(recording(*[100.0] * 9)), "drop-out@pump-01:*:2+2", limit=9)
    assert [m.seq for m in messages(of)] == [0, 1, 5, 6, 7, 8]
    assert of.withheld == 3


def test_fault_shorter_than_the_interval_strikes_one_reading():
    of = device(exact(recording(*[100.0] * 9)), "spike@pump-01:flow:2.1+0.2:10", limit=9)
    assert [m.seq for m in messages(of) if m.values["flow"] != 100.0] == [3]


def test_late_messages_arrive_after_younger_ones():
    of = device(exact(recording(*[100.0] * 9)), "late@pump-01:*:2+1:4", limit=9)
    sent = [(due, p.messages[0].seq) for due, p in publications(of)]
    assert [seq for _, seq in sent] == [0, 1, 4, 5, 2, 6, 3, 7, 8]
    assert [due for due, _ in sent] == sorted(due for due, _ in sent)


def test_duplicates_are_published_next_to_each_other():
    of = device(exact(recording(*[100.0] * 5)), "duplicate@pump-01:*:1+1", limit=5)
    assert [m.seq for m in messages(of)] == [0, 1, 1, 2, 2, 3, 4]


def test_the_fault_that_has_begun_does_not_count_as_usual_signal():
    of = device(exact(recording(*[100.0, 101.0] * 50)), "step@pump-01:flow:20+10:6", "step@pump-01:flow:40+10:6")
    said = messages(of, 60)
    assert said[25].values["flow"] - said[45].values["flow"] == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("spike@pump-01:flow:30+1", Fault(FaultKind.SPIKE, "pump-01", "flow", 30.0, 1.0, 10.0)),
        ("step@pump-02:flow:1m+30s:-4.5", Fault(FaultKind.STEP, "pump-02", "flow", 60.0, 30.0, -4.5)),
        ("drift@*:oil:temp:0.5h+1h", Fault(FaultKind.DRIFT, "*", "oil:temp", 1800.0, 3600.0, 8.0)),
        ("drop-out@pump-01:*:10+20", Fault(FaultKind.DROP_OUT, "pump-01", "*", 10.0, 20.0, None)),
        ("clock-jump@pump-01:*:10+20:-3600", Fault(FaultKind.CLOCK_JUMP, "pump-01", "*", 10.0, 20.0, -3600.0)),
    ],
)
def test_fault_is_read_as_written(text: str, fault: Fault):
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("spike", "write kind@device:sensor:at"),
        ("explode@pump-01:flow:1+1", "no kind 'explode'; one of: spike, step"),
        ("spike@pump-01:flow:soon+1", "write kind@device"),
        ("spike@pump-01:flow:1.2.3+1", "write kind@device"),
        ("spike@pump-01:flow:1+1:huge", "write kind@device"),
        ("spike@pump-01:flow:1+1:1e999", "finite"),
        ("late@pump-01:flow:1+1", "write * for the sensor"),
        ("late@pump-01:*:1+1:-5", "more than 0 seconds"),
        ("stuck@pump-01:flow:1+1:3", "has no size"),
    ],
)
def test_fault_that_cannot_be_read_says_what_to_write(text: str, says: str):
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert says in str(refused.value)


FLEET = {"pump-01": ("flow",), "pump-02": ("flow", "pressure")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("spike@pump-09:flow:1+1", "no device 'pump-09'; there are pump-01 to pump-02"),
        ("spike@pump-01:pressure:1+1", "no sensor 'pressure'; there are flow"),
    ],
)
def test_fault_of_something_that_the_fleet_has_not_is_refused(text: str, says: str):
    with pytest.raises(ConfigurationError) as refused:
        faults_of([text], FLEET, seed=1, warm_up=0.0, unit_s=1.0)
    assert says in str(refused.value)


def first(count: int, **schedule: float) -> list[Fault]:
    endless = random_faults(FLEET, **{"seed": 1, "warm_up": 30.0, **schedule})
    return [next(endless) for _ in range(count)]


def test_random_faults_follow_from_the_seed():
    assert first(50) == first(50)
    assert first(50) != first(50, seed=2)


def test_random_faults_begin_after_the_warm_up_and_go_on_by_time():
    starts = [fault.at_s for fault in first(50)]
    assert starts[0] >= 30.0
    assert starts == sorted(starts)


def test_random_faults_leave_a_device_alone_between_two():
    for name in FLEET:
        mine = [fault for fault in first(200) if fault.device == name]
        assert all(b.at_s - (a.at_s + a.duration_s) >= 120.0 for a, b in itertools.pairwise(mine))


def test_random_faults_are_of_all_kinds_and_name_sensors_that_exist():
    faults = first(400)
    assert {fault.kind for fault in faults} == set(FaultKind)
    assert all(fault.sensor in (*FLEET[fault.device], EVERY) for fault in faults)


def test_large_fleet_has_about_one_random_fault_a_minute():
    many = random_faults({f"pump-{i:02}": ("flow",) for i in range(20)}, seed=3, warm_up=0.0)
    assert [int(next(many).at_s // 60) for _ in range(30)] == list(range(30))


def test_random_faults_stretch_with_slow_devices():
    assert first(1, unit_s=10.0)[0].at_s == pytest.approx(10 * first(1)[0].at_s, abs=0.01)


def test_named_and_random_faults_come_in_one_order():
    merged = faults_of(["random", "spike@pump-01:flow:100+1"], FLEET, seed=1, warm_up=30.0, unit_s=1.0)
    starts = [next(merged).at_s for _ in range(10)]
    assert 100.0 in starts
    assert starts == sorted(starts)


def test_schedule_hands_each_fault_once_whoever_asks_first():
    faults = iter([parse("step@*:flow:1+1"), parse("spike@b:flow:2+1")])
    schedule = FaultSchedule(faults, ["a", "b"], NOW)
    assert [f.kind for f in schedule.starting("a", NOW + 5 * SECOND)] == [FaultKind.STEP]
    assert [f.kind for f in schedule.starting("b", NOW + SECOND)] == [FaultKind.STEP]
    assert [f.kind for f in schedule.starting("b", NOW + 2 * SECOND)] == [FaultKind.SPIKE]
    assert schedule.starting("a", NOW + 9 * SECOND) == []


def test_schedule_hands_over_all_that_has_begun_and_keeps_the_rest():
    faults = iter([parse("step@a:flow:1+1"), parse("nan@a:flow:2+1"), parse("spike@a:flow:9+1")])
    schedule = FaultSchedule(faults, ["a"], NOW)
    assert [f.kind for f in schedule.starting("a", NOW + 5 * SECOND)] == [FaultKind.STEP, FaultKind.NAN]
    assert [f.kind for f in schedule.starting("a", NOW + 9 * SECOND)] == [FaultKind.SPIKE]


def test_encoded_message_is_the_documented_payload():
    assert json.loads(encode(Publication((healthy(101.5),)))) == {
        "ts": NOW // 1000,
        "seq": 7,
        "values": {"flow": 101.5, "pressure": 4.6},
    }
