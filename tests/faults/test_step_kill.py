"""The stream worker killed at every single call it makes to Kafka, and restarted from what Kafka then holds.

A fake log stands in for Kafka, so that all kills of a run of 60 messages take seconds. What was sent and not flushed
may be durable or not when the kill falls: both are tried. The end must be that of a run without kills: the same records
(repeats carry the same id and bytes), the same state.
"""

import json
from collections.abc import Mapping

import msgspec
import pytest

from schemas import topics
from services.runtime.routes import load_routes
from services.stream import recovery
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline
from services.stream.worker import Worker

START_US = 1_700_000_000_000_000
BATCH = 7
BATCHES_PER_CHECKPOINT = 2


class Killed(BaseException):
    """The process is gone; nothing in it may run on."""


class FakeLog:
    """Kafka as far as a worker sees it; dies at call number `fatal_call`, before or after it took effect."""

    def __init__(self, fatal_call: int | None, *, after_effect: bool, unflushed_survives: bool) -> None:
        self.durable: list[tuple[str, int, bytes, bytes | None]] = []
        self.committed: dict[int, int] = {}
        self.calls = 0
        self._pending: list[tuple[str, int, bytes, bytes | None]] = []
        self._fatal_call = fatal_call
        self._after_effect = after_effect
        self._unflushed_survives = unflushed_survives

    def send(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        self._step(lambda: self._pending.append((topic, partition, key, value)))

    def flush(self) -> None:
        self._step(self._make_durable)

    def commit(self, offsets: Mapping[int, int]) -> bool:
        self._step(lambda: self.committed.update(offsets))
        return True

    def state_of(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        return [(k, v) for topic, p, k, v in self.durable if topic == topics.STREAM_STATE and p == partition]

    def _make_durable(self) -> None:
        self.durable += self._pending
        self._pending = []

    def _step(self, effect) -> None:
        self.calls += 1
        fatal = self.calls == self._fatal_call
        if not fatal or self._after_effect:
            effect()
        if fatal:
            if self._unflushed_survives:
                self._make_durable()
            self._pending = []
            raise Killed


def messages() -> dict[int, list[RawRecord]]:
    """60 messages of three devices on two partitions: in order, late, repeated, broken, with gaps in seq."""
    logs: dict[int, list[RawRecord]] = {0: [], 1: []}

    def publish(partition: int, device: str, seconds: float, seq: int, payload: bytes | None = None) -> None:
        at = START_US + round(seconds * 1e6)
        body = {"ts": at // 1000, "seq": seq, "values": {"flow": 20.0 + seq % 5, "pressure": 3.0}}
        headers = {
            "mqtt-topic": f"weir/v1/acme/north/{device}/telemetry".encode(),
            "mqtt-dup": b"0",
            "received-at": str(START_US + round(1e6 * max(seconds, 200))).encode(),
        }
        log = logs[partition]
        value = json.dumps(body).encode() if payload is None else payload
        log.append(RawRecord(len(log), f"acme/{device}".encode(), value, headers))

    for n in range(12):
        publish(0, "a", 8 * n, n)
        publish(0, "b", 8 * n + 1, 2 * n)
        publish(1, "c", 8 * n + 2, n)
    for n in range(4):
        publish(0, "a", 8 * n, n)
        publish(0, "b", 8 * n + 5, 2 * n + 1)
        publish(1, "c", 60 + n, 100 + n, b"not json")
    publish(0, "a", 3, 500)
    publish(0, "b", 5000, 40)
    publish(1, "c", 9000, 12)
    for n in range(4):
        publish(0, "a", 8 * (12 + n), 501 + n)
        publish(1, "c", 9008 + 8 * n, 13 + n)
    publish(0, "b", 5100, 41, b'{"ts": 1, "values": {"flow": "high", "pressure": 1}}')
    return logs


def open_partition(partition: int, restored: recovery.Restored) -> PartitionPipeline:
    return PartitionPipeline(partition, load_routes(None), load_device_types(None), restored=restored)


def live(log: FakeLog, raw: dict[int, list[RawRecord]]) -> Worker:
    """One life of a worker: from what the log holds to the end of the raw records, or to the kill."""
    worker = Worker(log, open_partition)
    for partition in raw:
        restored, _ = recovery.merge(log.state_of(partition))
        worker.assign(partition, restored, log.committed.get(partition, 0))
    turns = 0
    while any(owned.following < len(raw[p]) for p, owned in worker.partitions.items()):
        for partition, owned in worker.partitions.items():
            fetched = raw[partition][owned.following : owned.following + BATCH]
            accepted = worker.accept(partition, fetched, holes_are_real=False)
            worker.publish(partition, owned.pipeline.process(accepted))
        turns += 1
        if turns % BATCHES_PER_CHECKPOINT == 0:
            worker.checkpoint([turns // BATCHES_PER_CHECKPOINT % len(raw)])
    worker.checkpoint()
    return worker


def published(log: FakeLog) -> dict[tuple[str, str], bytes]:
    """Each record once; a repeat must be the same to the byte."""
    found: dict[tuple[str, str], bytes] = {}
    for topic, _, _, value in log.durable:
        if topic == topics.STREAM_STATE:
            continue
        record_id = msgspec.json.decode(value)["id"]
        assert found.setdefault((topic, record_id), value) == value
    return found


def state(log: FakeLog) -> dict[bytes, bytes]:
    """The devices' snapshots; pages are left out, as one whose removal a kill prevented is removed later."""
    return {
        key: value
        for partition in (0, 1)
        for key, value in recovery.merge(log.state_of(partition))[0].values.items()
        if b"|" not in key
    }


def test_the_run_without_kills_publishes_every_kind_of_record():
    log = FakeLog(None, after_effect=False, unflushed_survives=True)
    worker = live(log, messages())
    kinds = {topic for topic, _ in published(log)}
    assert kinds >= {topics.CLEAN, topics.SCORES, topics.AGGREGATES, topics.DEAD_LETTER, topics.GAPS}
    aggregates = [json.loads(v) for (t, _), v in published(log).items() if t == topics.AGGREGATES]
    assert any(a["revision"] > 0 for a in aggregates), "no late reading corrected a window"
    assert any(value is None for topic, _, _, value in log.durable if topic == topics.STREAM_STATE), "no page expired"
    assert sum(owned.pipeline.totals.missing_messages for owned in worker.partitions.values()) == 0


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("unflushed_survives", [False, True])
def test_a_kill_at_any_call_changes_nothing_in_the_end(after_effect, unflushed_survives):
    raw = messages()
    reference = FakeLog(None, after_effect=False, unflushed_survives=True)
    totals = [owned.pipeline.totals for owned in live(reference, raw).partitions.values()]
    replays = 0
    for fatal_call in range(1, reference.calls + 1):
        log = FakeLog(fatal_call, after_effect=after_effect, unflushed_survives=unflushed_survives)
        with pytest.raises(Killed):
            live(log, raw)
        worker = live(log, raw)
        replays += sum(owned.pipeline.skipped for owned in worker.partitions.values())
        assert published(log) == published(reference), f"killed at call {fatal_call}"
        assert state(log) == state(reference), f"killed at call {fatal_call}"
        assert log.committed == reference.committed
        assert [owned.pipeline.totals for owned in worker.partitions.values()] == totals
    assert replays > 0, "no kill fell between state and commit"


def test_an_older_state_that_a_frozen_worker_wrote_late_does_not_win():
    raw = messages()
    log = FakeLog(None, after_effect=False, unflushed_survives=True)
    live(log, raw)
    want = state(log)
    first_of_each = {}
    for key, value in log.state_of(0):
        first_of_each.setdefault(key, value)
    for key, value in first_of_each.items():
        log.send(topics.STREAM_STATE, 0, key, value)
    log.flush()
    assert state(log) == want
    restored, _ = recovery.merge(log.state_of(0))
    assert {key for key in restored.stale if b"|" not in key} == {b"acme/a", b"acme/b"}
    live(log, raw)
    last = {key: value for key, value in log.state_of(0) if value is not None and b"|" not in key}
    assert last == {key: value for key, value in want.items() if key in last}
