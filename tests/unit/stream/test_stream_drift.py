"""Drift in the stream: events by device and by type of device, the same whatever the restarts and where kills fall."""

import random

import pytest
from stream_builders import DAY_S, StateTopic, bytes_of, command, log, message, only, pipeline

from schemas import topics
from schemas.model_event import DriftTest, Step
from services.stream.device import UnreadableSnapshot
from services.stream.device_table import Restored
from services.stream.populations import MOST_POPULATIONS, POPULATION_KEY, Populations

STEP_S = 1800
DAYS = 30
PUMPS = 4


def plant() -> list:
    """Four pumps, one message each half hour for 30 days; from the 22nd day on all flows are six deviations higher."""
    numbers = random.Random(8)
    records = []
    for i in range(DAYS * DAY_S // STEP_S):
        second = i * STEP_S
        shift = 6.0 if second >= 21 * DAY_S else 0.0
        for pump in range(PUMPS):
            flow = 20 + numbers.gauss(0, 1) + shift
            records.append(message(second + pump, i, device=f"pump-{pump}", flow=flow, gas=numbers.gauss(5, 1)))
    records.insert(len(records) // 2, command({"command": "re-baseline", "sensor": "gas"}, received=15 * DAY_S))
    return log(records)


@pytest.fixture(scope="module")
def records():
    return plant()


@pytest.fixture(scope="module")
def uncut(records):
    """The pipeline, what it published, and its state."""
    whole = pipeline()
    return whole, whole.process(records), final(whole)


def drifts(outputs) -> list:
    return [event for event in only(topics.MODEL_EVENTS, outputs) if event.kind == "drift"]


def final(of) -> dict[bytes, bytes]:
    state = StateTopic()
    state.checkpoint(of)
    return state.last()


def test_each_device_s_drift_and_that_of_its_type_are_told(uncut):
    found = drifts(uncut[1])
    of_devices = {(e.device, e.sensor, e.step) for e in found if e.test is DriftTest.PAGE_HINKLEY_RESIDUAL}
    # Their scores have risen too: the models no longer fit.
    assert of_devices == {(f"pump-{n}", "flow", Step.RE_BASELINE) for n in range(PUMPS)}
    (of_type, *_) = [e for e in found if e.test is DriftTest.PSI]
    assert (of_type.tenant, of_type.site, of_type.device, of_type.sensor) == ("acme", "$3", "$", "flow")
    assert of_type.step is Step.RE_BASELINE
    assert of_type.statistic > of_type.threshold
    assert uncut[0].populations_drifting[Step.RE_BASELINE] == 1
    assert len({e.id for e in found}) == len(found)


def test_restarts_change_nothing(records, uncut):
    expected, state, outputs = uncut[1], StateTopic(), []
    for at in range(0, len(records), 1237):
        worker = pipeline(restored=state.read())
        outputs += worker.process(records[at : at + 1237])
        state.checkpoint(worker)
    assert bytes_of(outputs) == bytes_of(expected)
    assert state.last().keys() >= {key for key in uncut[2] if key.startswith(POPULATION_KEY)}


EARLY = 22 * DAY_S // STEP_S * PUMPS
LATE = 23 * DAY_S // STEP_S * PUMPS


@pytest.fixture(scope="module")
def before_the_drift(records):
    """What was published and checkpointed of the log's first 22 days, and what there is to checkpoint a day later."""
    state, worker = StateTopic(), pipeline()
    outputs = worker.process(records[:EARLY])
    state.checkpoint(worker)
    outputs += worker.process(records[EARLY:LATE])
    return outputs, state.records, [(change.key, change.value) for change in worker.take_changes()]


@pytest.mark.parametrize("written", [0, 1, 2, 3, 5, 20])
def test_a_kill_within_a_checkpoint_changes_nothing(records, uncut, before_the_drift, written):
    """Of a checkpoint just before the type's drift only the first records are durable; the rest of the log follows."""
    outputs, durable, changes = before_the_drift
    state = StateTopic()
    state.records = durable + changes[:written]
    worker = pipeline(restored=state.read())
    outputs = outputs + worker.process(records[EARLY:])
    state.checkpoint(worker)
    assert set(bytes_of(outputs)) == set(bytes_of(uncut[1]))
    whole = uncut[2]
    pages = (b"|60|", b"|10|", b"|300|")
    assert {k: v for k, v in state.last().items() if not any(page in k for page in pages)} == {
        k: v for k, v in whole.items() if not any(page in k for page in pages)
    }


def test_a_population_written_late_by_a_frozen_worker_is_written_again(records):
    state, worker = StateTopic(), pipeline()
    worker.process(records[:2000])
    old = [(change.key, change.value) for change in worker.take_changes()]
    worker.process(records[2000:2400])
    state.checkpoint(worker)
    state.records += old
    restored = pipeline(restored=state.read())
    keys = {change.key for change in restored.take_changes()}
    assert {key for key in keys if key.startswith(POPULATION_KEY)} == {
        POPULATION_KEY + b"acme|generic|flow", POPULATION_KEY + b"acme|generic|gas",
    }  # fmt: skip
    assert {change.key: change.value for change in pipeline(restored=state.read()).take_changes()}.items() <= (
        state.last().items()
    )


def test_no_more_populations_are_followed_than_there_may_be():
    followed = Populations(Restored({}))
    for number in range(MOST_POPULATIONS + 10):
        followed.take(number, ("acme", "generic", f"s{number}"), 500_000, 1.0)
    assert len(followed.take_changes()) == MOST_POPULATIONS


@pytest.mark.parametrize("value", [b"", b"12345678", b"\0" * 8 + b"\x91\x07", b"\0" * 8 + b"\xc1"])
def test_a_population_that_cannot_be_read_is_refused_at_the_start(value):
    with pytest.raises(UnreadableSnapshot, match="weir stream --rebuild"):
        pipeline(restored=Restored({POPULATION_KEY + b"acme|generic|flow": value}))
