"""The sink's loop. `Sink.turn` is the promise, read from top to bottom: read, store, bury, then acknowledge."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from schemas import influx
from schemas.dead_letter import DeadLetter
from services.sink import dead_letters, metrics
from services.sink.batches import Batch, BatchAbandoned, Record
from services.sink.influx_state import InfluxState
from services.sink.outcomes import Outcome, Verdict
from services.sink.readers import Reader
from services.sink.storing import store

_IDLE_S = 0.5
"""Longest time between two signs of life while waiting."""
_MOST_BETWEEN_POLLS_S = 1.0
_GLANCE_S = 0.05
"""A poll between two writes: long enough for a sink that was frozen to hear that it was replaced."""
_READ_RECORDS = 1000


class Source(Protocol):
    """Where records come from. `read` and `idle` raise `BatchAbandoned` where the batch in hand is no longer ours."""

    def read(self, most_records: int, wait_s: float) -> Sequence[Record]:
        """Records that come after those handed out before."""
        ...

    def idle(self, seconds: float) -> None:
        """Wait, without reading, and stay in the group."""
        ...

    def acknowledge(self) -> None:
        """All that was handed out is safe."""
        ...

    def rewind(self) -> None:
        """Hand out again what was handed out and not acknowledged."""
        ...


class Writer(Protocol):
    """Where lines go. Idempotent; STORED means durable."""

    def write(self, bucket: str, lines: Sequence[bytes]) -> Outcome:
        """Write lines to a bucket in one request."""
        ...


class Graveyard(Protocol):
    """Where goes what can't be stored."""

    def deliver(self, letters: Sequence[DeadLetter], wait: Callable[[], None]) -> None:
        """Return when all are durable."""
        ...


class Limits(NamedTuple):
    """How large a batch may get, in lines, and how long it may take to fill, in seconds."""

    lines: int
    wait_s: float


class Leaving(BatchAbandoned):
    """The process was asked to leave while it waited."""


class Sink:
    """Moves records from a source to InfluxDB, batch by batch."""

    def __init__(
        self,
        *,
        source: Source,
        writer: Writer,
        graveyard: Graveyard,
        readers: Mapping[str, Reader],
        limits: Limits,
        influx_state: InfluxState,
        beat: Callable[[], None],
        should_stop: Callable[[], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`beat` is called at least each second, also while waiting; `should_stop` ends a wait or a long batch."""
        self._source = source
        self._writer = writer
        self._graveyard = graveyard
        self._readers = readers
        self._limits = limits
        self._influx_state = influx_state
        self._beat = beat
        self._should_stop = should_stop
        self._clock_s = clock_s
        self._polled_s = clock_s()

    def turn(self) -> None:
        """Take one batch from Kafka to InfluxDB. The order is the promise: stored or buried, then acknowledged."""
        self._beat()
        batch = Batch(self._readers)
        try:
            self._fill(batch)
            letters = [dead_letters.of_record(record, poison.detail) for record, poison in batch.refused]
            letters += self._store(batch)
            self._graveyard.deliver(letters, lambda: self._wait(0.0))
        except BatchAbandoned:
            self._source.rewind()
            metrics.IN_HAND.set(0)
            return
        self._source.acknowledge()
        metrics.IN_HAND.set(0)
        _count(batch, letters)

    def greet(self) -> None:
        """Wait until InfluxDB takes writes to each bucket: a wrong address, token or name shows at once."""
        try:
            for bucket in (influx.BUCKET, influx.BUCKET_LONG):
                store([b""], partial(self._write, bucket), self._wait_out, 1)
        except BatchAbandoned:
            self._source.rewind()

    def _fill(self, batch: Batch) -> None:
        """Read until another read might not fit into the same write, or nothing more came in time."""
        taken = more = 0
        while taken + more <= self._limits.lines:
            before = batch.size
            records = self._source.read(_READ_RECORDS, self._limits.wait_s)
            self._polled_s = self._clock_s()
            batch.add(records)
            metrics.IN_HAND.set(batch.size)
            if len(records) < _READ_RECORDS:
                return
            # A record counts as a line at least: what is none, and will be refused, is in hand too.
            more = max(batch.size - before, len(records))
            taken += more

    def _store(self, batch: Batch) -> list[DeadLetter]:
        """Store every line that InfluxDB takes; returns the dead letters of the others."""
        letters = []
        for bucket, content in batch.buckets.items():
            refusals = store(content.lines, partial(self._write, bucket), self._wait_out, self._limits.lines)
            for index, why in refusals:
                record, nth = content.origin(index)
                batch.lines_by_topic[record.topic()] -= 1
                letters.append(dead_letters.of_line(record, nth, content.lines[index], why))
        return letters

    def _write(self, bucket: str, lines: Sequence[bytes]) -> Outcome:
        """One request. A batch may take thousands: in between, the sink stays in the group and hears what it lost."""
        if self._clock_s() - self._polled_s > _MOST_BETWEEN_POLLS_S:
            self._wait(_GLANCE_S)
        outcome = self._writer.write(bucket, lines)
        if outcome.verdict not in (Verdict.LATER, Verdict.MISCONFIGURED):
            self._influx_state.answered()
        self._beat()
        return outcome

    def _wait_out(self, outcome: Outcome) -> None:
        self._wait(self._influx_state.declined(outcome))

    def _wait(self, seconds: float) -> None:
        """Wait, alive and in the group, at least one moment."""
        until = self._clock_s() + seconds
        while True:
            if self._should_stop():
                raise Leaving
            self._beat()
            left = until - self._clock_s()
            self._source.idle(max(min(left, _IDLE_S), 0.0))
            self._polled_s = self._clock_s()
            if left <= _IDLE_S:
                return


def _count(batch: Batch, letters: Sequence[DeadLetter]) -> None:
    for topic, count in batch.records_by_topic.items():
        metrics.RECORDS.labels(topic=topic).inc(count)
    for topic, count in batch.lines_by_topic.items():
        metrics.LINES.labels(topic=topic).inc(count)
    for letter in letters:
        metrics.DEAD_LETTERS.labels(reason=letter.reason.value).inc()
