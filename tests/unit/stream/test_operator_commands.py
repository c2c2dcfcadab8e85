"""An operator's hand: commands in the log pause, resume and re-baseline a device's models, exactly once."""

import random

import pytest
from stream_builders import (
    StateTopic,
    at,
    buried,
    bytes_of,
    command,
    feed,
    ledgers_add_up,
    log,
    message,
    only,
    pipeline,
    raw,
)

from schemas import raw as headers
from schemas import topics
from schemas.anomaly import AnomalyPhase
from schemas.model_event import ModelEventKind
from schemas.reasons import Reason
from schemas.telemetry import ModelState

PAUSE = {"command": "pause"}
KEY = b"acme/pump-1"


def readings(first: int, last: int, **fault: float) -> list:
    numbers = random.Random(first)
    usual = [{"flow": 20 + numbers.gauss(0, 1), "gas": 5 + numbers.gauss(0, 1)} for _ in range(first, last)]
    return [message(i, i, **(values | fault)) for i, values in enumerate(usual, first)]


def events(outputs) -> list[tuple[ModelEventKind, str]]:
    return [(event.kind, event.sensor) for event in only(topics.MODEL_EVENTS, outputs)]


def states(outputs) -> list[ModelState]:
    return [score.state for score in only(topics.SCORES, outputs)]


@pytest.fixture
def device():
    ready = pipeline()
    assert states(feed(ready, *readings(0, 200)))[-1] is ModelState.READY
    return ready


def learnt(device) -> list:
    return device._devices._devices[KEY].scorer.to_state()


def test_a_paused_device_is_stored_and_aggregated_and_neither_scored_nor_learnt(device):
    before = learnt(device)
    outputs = feed(device, command(PAUSE | {"by": "ann", "reason": "new bearing"}, received=200))
    (event,) = only(topics.MODEL_EVENTS, outputs)
    assert (event.kind, event.by, event.reason, event.event_us, event.until_us) == (
        "paused", "ann", "new bearing", at(200), None,
    )  # fmt: skip
    outputs = feed(device, *readings(201, 260, flow=500.0))
    assert len(only(topics.CLEAN, outputs)) == 59
    assert max(window.max for window in only(topics.AGGREGATES, outputs)) == 500.0
    assert set(states(outputs)) == {ModelState.PAUSED}
    assert {(s.score, s.alarm_score, s.progress) for s in only(topics.SCORES, outputs)} == {(0.0, 0.0, 1.0)}
    assert only(topics.ANOMALIES, outputs) == []
    assert learnt(device) == before
    assert events(feed(device, command({"command": "resume"}, received=260))) == [("resumed", "")]
    assert states(feed(device, *readings(261, 262))) == [ModelState.READY]


def test_a_pause_ends_with_the_first_message_that_is_received_after_its_end(device):
    feed(device, command(PAUSE | {"for_s": 60}, received=200))
    assert states(feed(device, *readings(205, 259))) == [ModelState.PAUSED] * 54
    outputs = feed(device, *readings(260, 261))
    assert (events(outputs), states(outputs)) == ([("resumed", "")], [ModelState.READY])
    assert only(topics.MODEL_EVENTS, outputs)[0].event_us == at(260)
    assert events(feed(device, *readings(261, 300))) == []


def test_of_a_device_with_one_paused_sensor_the_others_are_scored(device):
    feed(device, command(PAUSE | {"sensor": "flow"}, received=200))
    outputs = feed(device, *readings(201, 210, flow=900.0))
    assert {tuple(score.sensors) for score in only(topics.SCORES, outputs)} == {("gas",)}
    assert states(outputs) == [ModelState.READY] * 9
    assert only(topics.ANOMALIES, outputs) == []


@pytest.mark.parametrize("order", [PAUSE, {"command": "re-baseline"}, {"command": "re-baseline", "sensor": "flow"}])
def test_what_takes_a_device_out_of_scoring_closes_its_open_anomaly(device, order):
    outputs = feed(device, *readings(200, 205, flow=90.0))
    (opened,) = only(topics.ANOMALIES, outputs)
    outputs = feed(device, command(order, received=206))
    (closed,) = only(topics.ANOMALIES, outputs)
    assert (closed.anomaly, closed.phase, closed.end_us) == (opened.anomaly, AnomalyPhase.CLOSED, at(204))


def test_another_sensor_s_pause_leaves_the_open_anomaly_alone(device):
    feed(device, *readings(200, 205, flow=90.0))
    assert only(topics.ANOMALIES, feed(device, command(PAUSE | {"sensor": "gas"}, received=206))) == []


def test_a_re_baselined_device_learns_anew_and_keeps_the_rest(device):
    outputs = feed(device, command({"command": "re-baseline", "reason": "overhaul"}, received=200))
    assert events(outputs) == [("re_baselined", "")]
    outputs = feed(device, *readings(201, 202, flow=300.0))
    (score,) = only(topics.SCORES, outputs)
    assert (score.state, score.progress) == (ModelState.LEARNING, 0.01)
    assert device.totals.received == 201


def test_a_re_baselined_sensor_learns_anew_while_the_others_stay_ready(device):
    feed(device, command({"command": "re-baseline", "sensor": "flow"}, received=200))
    (score,) = only(topics.SCORES, feed(device, *readings(201, 202)))
    assert score.sensors["flow"].expected_low is None
    assert score.sensors["gas"].expected_low is not None


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (command(b"{oops"), "no operator command"),
        (command({"command": "explode"}), "no operator command"),
        (command(PAUSE | {"for_s": 0}), "no operator command"),
        (command(PAUSE | {"reason": "two\nlines"}), "no operator command"),
        (command(PAUSE | {"sensor": "volume"}), "does not have: 'volume'"),
        (command(PAUSE)._replace(headers={headers.OPERATOR_COMMAND: b"1"}), "without the time"),
    ],
)
def test_a_command_that_cannot_be_applied_is_a_dead_letter_and_changes_nothing(device, record, detail):
    before = learnt(device)
    outputs = feed(device, record)
    assert [output.topic for output in outputs] == [topics.DEAD_LETTER]
    (letter,) = only(topics.DEAD_LETTER, outputs)
    assert (letter.reason, letter.tenant, letter.device) == (Reason.WRONG_SHAPE, "acme", "pump-1")
    assert detail in letter.detail
    assert learnt(device) == before


@pytest.mark.parametrize("key", [b"acme/nobody", b"$/$", b"no key", b"acme/$"])
def test_a_command_for_nobody_is_a_dead_letter_and_makes_no_device(device, key):
    outputs = feed(device, command(PAUSE, key=key))
    assert buried(outputs) == [(Reason.WRONG_SHAPE, None)]
    assert device._devices.known(b"acme/nobody") is None


def test_a_command_is_no_message_of_any_ledger(device):
    before = device.totals.received
    feed(device, command(PAUSE), command({"command": "explode"}), command(PAUSE, device="nobody"))
    assert device.totals.received == before
    assert device.totals.dead_messages == {}
    assert ledgers_add_up(device)


def test_a_device_cannot_command_by_what_it_publishes(device):
    outputs = feed(device, raw({"command": "pause"}, received=200), raw(b'{"operator-command": 1}', received=201))
    assert events(outputs) == []
    assert device._devices._devices[KEY].oversight.pauses == {}


def test_pauses_live_on_in_the_state_and_a_replayed_command_is_applied_once():
    records = log(
        [*readings(0, 150), command(PAUSE | {"for_s": 50}, received=150), *readings(151, 230)],
    )
    uncut = pipeline()
    expected = bytes_of(uncut.process(records))
    state, outputs = StateTopic(), []
    for begin, end in ((0, 151), (150, 170), (160, 190), (140, 230)):
        worker = pipeline(restored=state.read())
        outputs += bytes_of(worker.process(records[begin:end]))
        state.checkpoint(worker)
    assert outputs == expected
    assert events(uncut.process([])) == []


def test_models_that_cannot_be_read_are_told_once_by_an_event():
    state = StateTopic()
    worker = pipeline(model="gaussian")
    worker.process(log(readings(0, 120)))
    state.checkpoint(worker)
    restored = pipeline(model="light", restored=state.read())
    outputs = restored.process(log(readings(120, 125), 120))
    assert events(outputs) == [(ModelEventKind.LEARNING_RESTARTED, "")]
    state.checkpoint(restored)
    assert events(pipeline(model="light", restored=state.read()).process(log(readings(125, 130), 125))) == []


def test_a_new_regime_that_is_adopted_is_told_with_its_old_and_new_range():
    device = pipeline(model="bands")
    outputs = feed(device, *readings(0, 600))
    hours = [message(600 + 60 * i, 600 + i, flow=40 + (i % 7) / 7, gas=5.0) for i in range(1500)]
    outputs = feed(device, *hours)
    (event,) = [e for e in only(topics.MODEL_EVENTS, outputs) if e.kind is ModelEventKind.REGIME_ADOPTED]
    assert event.sensor == "flow"
    assert event.old_high < 30.0 < event.new_high
    assert event.after_s >= 6 * 3600
    assert event.id.endswith(":regime_adopted:flow")
    assert "normal now" in event.sentence
