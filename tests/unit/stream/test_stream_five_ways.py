"""A day of a plant, replayed in five ways: the same bytes. Devices join late, and so begin with their type's prior."""

import math
import random
from collections.abc import Iterator
from functools import cache

from stream_builders import NOON_US, StateTopic, bytes_of, in_batches, log, message, only, pipeline

from schemas import topics
from services.stream.arrival import RawRecord

MINUTES = 1_440
STEP = 2
"""Minutes between two messages of a device."""
DEVICES = 8
PARTITIONS = 4
JOINS = (0, 0, 0, 20, 500, 600, 900, 1_000)
"""Minute of each device's first message: later ones have a prior from the start, if their partition has a teacher."""


@cache
def day() -> tuple[RawRecord, ...]:
    """Noise, a wave and a machine, a step, a spike, a sensor that is stuck, lost fields and messages, late ones."""
    numbers = random.Random(6)
    records = []
    for minute in range(0, MINUTES, STEP):
        for device, joins in enumerate(JOINS):
            if minute < joins or numbers.random() < 0.01:
                continue
            age = (minute - joins) // STEP
            values = {
                "flow": numbers.gauss(20.0, 1.0) + (15.0 if device >= 4 and 60 <= age < 70 else 0.0),
                "heat": 50.0 + 10.0 * math.sin(minute / 229.0) + numbers.gauss(0.0, 0.5),
                "load": float(minute // 45 % 2) * 30.0 + numbers.gauss(0.0, 0.1),
            }
            if device == 1 and 600 <= minute < 1_000:
                values["heat"] = 55.5
            if device == 2 and minute == 700:
                values["flow"] = 1e90
            for sensor in list(values):
                if numbers.random() < 0.02:
                    del values[sensor]
            late = 300.0 if numbers.random() < 0.01 else 0.0
            records.append(
                message(60.0 * minute - late, age, received=60.0 * minute + 1, device=f"pump-{device}", **values)
            )
    return tuple(records)


def log_of(partition: int) -> list[RawRecord]:
    mine = {f"acme/pump-{device}".encode() for device in range(DEVICES) if device % PARTITIONS == partition}
    return log(record for record in day() if record.key in mine)


def whole_log() -> list[RawRecord]:
    return log(day())


@cache
def in_one_go():
    worker = pipeline(model="bands")
    return worker, worker.process(whole_log())


@cache
def expected() -> tuple[tuple[tuple[str, bytes, bytes], ...], tuple[tuple[bytes, bytes], ...]]:
    worker, outputs = in_one_go()
    return told((worker, bytes_of(outputs)))


def told(of) -> tuple:
    worker, outputs = of
    state = StateTopic()
    state.checkpoint(worker)
    return tuple(outputs), tuple(sorted(state.last().items()))


def test_the_day_has_what_makes_it_a_test():
    _, outputs = in_one_go()
    opened = {(a.device, a.culprit) for a in only(topics.ANOMALIES, outputs) if a.phase == "opened"}
    assert {("pump-1", "heat"), ("pump-2", "flow")} <= opened
    early = [a for a in only(topics.ANOMALIES, outputs) if a.phase == "opened" and a.culprit == "flow"]
    joined_us = {f"pump-{device}": NOON_US + minute * 60_000_000 for device, minute in enumerate(JOINS)}
    while_learning = {a.device for a in early if a.opened_us - joined_us[a.device] < 100 * STEP * 60_000_000}
    assert while_learning == {"pump-4", "pump-5", "pump-6", "pump-7"}, (
        "with a prior, a step at the sixtieth reading is seen"
    )


def test_message_by_message_a_day_is_the_same():
    worker = pipeline(model="bands")
    assert told((worker, bytes_of(in_batches(worker, whole_log(), 1)))) == expected()


def test_in_odd_batches_a_day_is_the_same():
    worker = pipeline(model="bands")
    assert told((worker, bytes_of(in_batches(worker, whole_log(), 97)))) == expected()


def test_over_restarts_a_day_is_the_same():
    records, state, outputs = whole_log(), StateTopic(), []
    for start in range(0, len(records), 701):
        worker = pipeline(model="bands", restored=state.read())
        outputs += bytes_of(worker.process(records[start : start + 701]))
        state.checkpoint(worker)
    assert (tuple(outputs), tuple(sorted(state.last().items()))) == expected()


def test_over_kills_within_checkpoints_a_day_is_the_same():
    """Some states were written, others not, and the offset was not: the log is read again from the commit before."""
    records, state, outputs, committed = whole_log(), StateTopic(), set(), 0
    numbers = random.Random(7)
    for end in [*range(450, len(records), 450), len(records)]:
        worker = pipeline(model="bands", restored=state.read())
        outputs |= set(bytes_of(worker.process(records[committed:end])))
        changes = worker.take_changes()
        if end < len(records) and numbers.random() < 0.6:
            state.records += [(change.key, change.value) for change in changes[: numbers.randrange(len(changes))]]
        else:
            state.records += [(change.key, change.value) for change in changes]
            state.records += [(key, None) for key in worker.take_expired()]
            committed = end
    wanted, final = expected()
    assert outputs == set(wanted)
    assert {k: v for k, v in state.last().items() if b"|" not in k} == {k: v for k, v in final if b"|" not in k}


def test_one_worker_of_four_partitions_and_four_of_one_each_say_the_same():
    apart = [bytes_of(pipeline(model="bands").process(log_of(partition))) for partition in range(PARTITIONS)]
    together = [pipeline(model="bands") for _ in range(PARTITIONS)]
    said: list[list] = [[] for _ in range(PARTITIONS)]
    for partition, batch in _in_turn(29):
        said[partition] += bytes_of(together[partition].process(batch))
    assert said == apart


def _in_turn(size: int) -> Iterator[tuple[int, list[RawRecord]]]:
    logs = [log_of(partition) for partition in range(PARTITIONS)]
    for start in range(0, max(map(len, logs)), size):
        for partition, records in enumerate(logs):
            yield partition, records[start : start + size]
