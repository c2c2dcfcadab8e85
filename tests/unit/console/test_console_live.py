"""The live table: what it knows, and that it fits."""

from __future__ import annotations

import re

import pytest
from console_records import NOON_US, alarm, anomaly, clean, report, score
from rich.console import Console

from deploy.local.supervision import ProgramState
from schemas.alarm import AlarmPhase
from schemas.anomaly import AnomalyPhase
from schemas.telemetry import ModelState
from services.console import live_state
from services.console.judgement import judge
from services.console.live_state import LiveState, labels_in
from services.console.live_table import Frame, bar, draw, plain_line
from services.simulator.labels import Label

RUNNING = {name: ProgramState("RUNNING", 4711, 60.0) for name in ("bridge", "stream", "sink", "alerts", "kafka")}
SECOND = 1_000_000


def fed(*records, since_us=0):
    state = LiveState(since_us)
    for number, record in enumerate(records):
        state.take(record, float(number))
    return state


def picture(state, width=120, height=40, states=RUNNING):
    frame = Frame(
        states=states,
        addresses=(("MQTT", "127.0.0.1:1883", "mosquitto"), ("Kafka", "127.0.0.1:9092", "kafka")),
        logs="/checkout/.run/logs",
        note="demo",
        uptime_s=65.0,
        now_s=10.0,
        width=width,
        height=height,
    )
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(draw(state, frame))
    return capture.get().splitlines()


def label(kind="step", device="pump-01", from_s=0.0, to_s=60.0, size=6.0, sensor="flow"):
    at = [NOON_US + round(s * SECOND) for s in (from_s, to_s)]
    return Label("demo", device, sensor, kind, *at, size)


def test_a_device_shows_its_values_score_state_and_rate():
    lines = picture(fed(*(clean() for _ in range(10)), score(value=0.31)))
    row = next(line for line in lines if line.startswith("pump-01"))
    assert "ready" in row
    assert "0.31" in row
    assert "flow 101.5" in row
    assert re.search(r"\b2\.0\b", row), "two readings in each of ten messages in ten seconds"


def test_a_device_that_learns_says_how_far_it_is():
    lines = picture(fed(score(state=ModelState.LEARNING, progress=0.4)))
    assert any("learns 40%" in line for line in lines)


def test_an_open_anomaly_is_told_in_its_sentence_until_it_closes():
    opened = fed(score(), anomaly())
    assert any("pump-01" in line and "flow read 50" in line and "anomaly" in line for line in picture(opened))
    assert opened.open_anomalies() == 1
    opened.take(anomaly(phase=AnomalyPhase.CLOSED, end_us=NOON_US + 17 * SECOND, revision=1), 2.0)
    assert opened.open_anomalies() == 0
    assert "as usual again; 17 s" in opened.events[-1].text


def test_an_anomaly_that_rises_stays_one_line_and_says_the_latest():
    state = fed(anomaly(), anomaly(phase=AnomalyPhase.UPDATED, revision=1, sentence="Extremely unusual at pump-01: x."))
    assert [event.text for event in state.events] == ["Extremely unusual: x."]


def test_an_alarm_is_shown_until_it_is_cleared():
    state = fed(alarm())
    assert any("ALARM" in line for line in picture(state))
    state.take(alarm(phase=AlarmPhase.CLEARED), 1.0)
    assert not any("ALARM" in line for line in picture(state))
    assert (state.alarms, state.active_alarms()) == (1, 0)


def test_the_worst_device_comes_first():
    state = fed(*(score(f"pump-{n:02}") for n in range(1, 5)), anomaly("pump-03"), score("pump-04", 0.9))
    assert [device.name for device in state.worst_first()] == ["pump-03", "pump-04", "pump-01", "pump-02"]


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 20), (200, 60)])
@pytest.mark.parametrize("devices", [0, 1, 12, 300])
def test_the_picture_fits_the_terminal(width, height, devices):
    records = [record for n in range(devices) for record in (clean(f"pump-{n:03}"), score(f"pump-{n:03}"))]
    state = fed(*records, *(anomaly(f"pump-{n:03}") for n in range(devices)), report("stream"))
    lines = picture(state, width, height)
    assert len(lines) <= height - 1
    assert max(map(len, lines)) <= width
    assert any("received 0 = decoded 0" in line for line in lines)


def test_devices_that_do_not_fit_are_counted():
    state = fed(*(score(f"pump-{n:03}") for n in range(300)))
    assert any(re.search(r"and \d+ more", line) for line in picture(state, 80, 24))


def test_the_ledger_line_has_a_tick_or_says_what_is_missing():
    fine = report("stream", stream_messages_received_total=5, stream_messages_decoded_total=5)
    assert picture(fed(fine))[-1] == "messages received 5 = decoded 5 + dead-lettered 0 + redelivered 0 ✓"
    lossy = report("stream", stream_messages_received_total=5, stream_messages_decoded_total=4)
    assert picture(fed(lossy))[-1].endswith("✗ 1 messages are missing")


def test_a_service_that_does_not_run_is_named():
    states = RUNNING | {"sink": ProgramState("BACKOFF", 0, 0.0)}
    assert any(line.startswith("sink") and "backoff" in line for line in picture(fed(), states=states))
    assert "sink BACKOFF" in plain_line(fed(), states, "12:00:00")


def test_the_plain_line_says_all_that_the_table_sums_up():
    reports = [report("bridge", at_s=at, bridge_received_messages_total=at * 12) for at in (0, 5)]
    line = plain_line(fed(*reports, score(), anomaly(), alarm()), RUNNING, "12:00:00")
    for part in (
        "bridge 12.0/s lag 0",
        "stream no report yet",
        "devices 1 (1 ready)",
        "anomalies 1 (1 open)",
        "adds up",
    ):
        assert part in line


def test_the_bar_turns_red_at_the_alarm_line():
    assert bar(0.49).plain.count("█") == 5
    assert {span.style for span in bar(0.49).spans} == {"yellow", "dim"}
    assert "red" in {span.style for span in bar(0.5).spans}
    assert bar(1.0).plain == "█" * 10
    assert bar(0.0).plain == "·····│····"


def test_invented_devices_do_not_grow_what_is_kept(monkeypatch):
    monkeypatch.setattr(live_state, "MOST_DEVICES", 3)
    state = fed(*(score(f"pump-{n}") for n in range(10)))
    assert list(state.devices) == ["demo/pump-7", "demo/pump-8", "demo/pump-9"]


def test_an_injected_fault_is_shown_and_the_anomaly_that_found_it_says_so():
    state = LiveState(NOON_US)
    state.label(label("step", from_s=10))
    state.take(anomaly(opened_us=NOON_US + 14 * SECOND), 1.0)
    assert [event.mark for event in state.events] == ["fault", "opened"]
    assert state.events[0].text == "injected: step of flow by 6σ for 50 s"
    assert state.events[1].text.startswith("[step found after 4 s] Very unusual: flow")
    assert state.judgement() == (1, 0, 0, 0)


def test_history_is_not_judged():
    state = LiveState(NOON_US)
    state.label(label("recorded", from_s=-100, to_s=-90))
    assert state.judgement() is None


def opened(*at_s, device="pump-01"):
    return [anomaly(device, opened_us=NOON_US + s * SECOND) for s in at_s]


@pytest.mark.parametrize(
    ("labels", "anomalies", "expected"),
    [
        ([label()], opened(5), (1, 0, 0, 0)),
        ([label()], [], (0, 1, 0, 0)),
        ([label()], opened(5, device="pump-02"), (0, 1, 0, 1)),
        ([label(from_s=100, to_s=160)], opened(-50), (0, 0, 1, 0)),
        ([label(from_s=100, to_s=160)], opened(50), (0, 0, 1, 1)),
        ([label("duplicate", sensor="*")], [], (0, 0, 0, 0)),
        ([label("late", sensor="*")], opened(5), (0, 0, 0, 0)),
        ([label(to_s=990)], [], (0, 0, 0, 0)),
        ([label(to_s=990)], opened(5), (1, 0, 0, 0)),
        ([label("recorded", to_s=15)], opened(0), (1, 0, 0, 0)),
    ],
    ids=[
        "found", "missed", "another device's alarm", "quiet after history's alarm", "quiet after a false alarm",
        "not to be found", "explained though not to be found", "not over yet", "found before it is over", "recorded",
    ],
)  # fmt: skip
def test_known_anomalies_are_judged(labels, anomalies, expected):
    assert judge(labels, anomalies, NOON_US, NOON_US + 990 * SECOND) == expected


def test_an_alarm_of_just_now_may_still_be_explained():
    """A known anomaly of the recording is labelled only when it has ended."""
    assert judge([], opened(10), NOON_US, NOON_US + 30 * SECOND).unexplained == 0
    assert judge([], opened(10), NOON_US, NOON_US + 300 * SECOND).unexplained == 1


def test_a_label_that_is_being_written_waits():
    whole = b'{"tenant":"demo","device":"d","sensor":"*","kind":"late","from_us":1,"to_us":2}'
    assert [found.kind for found in labels_in([whole, whole[:40]])] == ["late"]
