"""A batch: what was read from Kafka and not yet acknowledged, as lines by bucket, each with the record it came from."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from services.runtime.errors import Poison
from services.sink.readers import Reader


class Record(Protocol):
    """A record on a Kafka topic, as confluent_kafka gives it."""

    def topic(self) -> str:
        """The topic, with its prefix."""
        ...

    def partition(self) -> int:
        """The partition."""
        ...

    def offset(self) -> int:
        """The offset."""
        ...

    def key(self) -> bytes | None:
        """The key."""
        ...

    def value(self) -> bytes | None:
        """The value; None in a tombstone, which these topics do not have."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """What the timestamp is, and the timestamp in unix ms."""
        ...


class BatchAbandoned(Exception):
    """An order to the loop: store no more of the batch in hand; its records will be read again."""


class BucketLines:
    """Lines of one bucket, in the order of their records."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._records: list[Record] = []
        self._starts: list[int] = []

    def add(self, record: Record, lines: list[bytes]) -> None:
        """Add a record's lines."""
        self._records.append(record)
        self._starts.append(len(self.lines))
        self.lines += lines

    def origin(self, index: int) -> tuple[Record, int]:
        """The record of the line at `index`, and which of its lines it is."""
        nth = bisect_right(self._starts, index) - 1
        return self._records[nth], index - self._starts[nth]


class Batch:
    """Records as lines by bucket; `refused` are records that are no lines at all, with the reason."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers
        self.buckets: dict[str, BucketLines] = {}
        self.refused: list[tuple[Record, Poison]] = []
        self.records_by_topic: Counter[str] = Counter()
        self.lines_by_topic: Counter[str] = Counter()
        self.size = 0
        """Lines in all buckets."""

    def add(self, records: Iterable[Record]) -> None:
        """Turn records into lines. What can't be a line is set aside; the rest goes on."""
        readers, buckets = self._readers, self.buckets
        counts: dict[str, list[int]] = {}
        for record in records:
            topic = record.topic()
            count = counts.get(topic)
            if count is None:
                count = counts[topic] = [0, 0]
            count[0] += 1
            try:
                bucket, lines = readers[topic](record.value())
            except Poison as poison:
                self.refused.append((record, poison))
                continue
            if lines:
                if bucket not in buckets:
                    buckets[bucket] = BucketLines()
                buckets[bucket].add(record, lines)
                count[1] += len(lines)
        for topic, (read, written) in counts.items():
            self.records_by_topic[topic] += read
            self.lines_by_topic[topic] += written
            self.size += written
