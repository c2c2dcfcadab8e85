"""The sink's consumer: hands out records, acknowledges what was stored, and stays in its group while it waits.

It remembers what it has handed out and nobody has acknowledged. Where a rebalance takes one of those partitions away,
the batch in hand is given up (`Reassigned`): the new owner reads those records again, and writing them here as well
could put an older state of a point over its newer one.
"""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from services.runtime import logging
from services.sink import metrics
from services.sink.batches import BatchAbandoned, Record

log = logging.get("sink")

# The stubs know neither the class nor its makers.
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

Partition = tuple[str, int]
"""Topic and partition."""


class Reassigned(BatchAbandoned):
    """A partition of the batch in hand belongs to another sink now."""


class KafkaSource:
    """Reads topics as a member of a consumer group. One thread."""

    def __init__(self, consumer: Consumer, admin: AdminClient, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._admin = admin
        self._in_hand: dict[Partition, tuple[int, int]] = {}
        """First and next offset of what was handed out and is neither acknowledged nor rewound."""
        self._to_commit: dict[Partition, int] = {}
        self._next: dict[Partition, int] = {}
        """Next offset to store, of each partition that is ours."""
        self._taken_away = False
        self._paused = False
        consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def read(self, most_records: int, wait_s: float) -> list[Record]:
        """Up to `most_records` records, after at most `wait_s` seconds.

        Raises:
            Reassigned: A partition of the batch in hand was taken away.
        """
        self._resume()
        records: list[Record] = []
        consumed: list[Any] = self._consumer.consume(most_records, wait_s)
        for message in consumed:
            if (error := message.error()) is None:
                records.append(message)
                self._hand_out(message)
            elif error.fatal():
                raise KafkaException(error)
        self._check()
        return records

    def idle(self, seconds: float) -> None:
        """Read nothing for `seconds`, and stay in the group.

        Raises:
            Reassigned: As in `read`.
        """
        self._consumer.pause(self._consumer.assignment())
        self._paused = True
        message: Any = self._consumer.poll(seconds)
        if message is not None and message.error() is None:
            # Of a partition that was assigned just now, and so not paused: it must come again.
            self._consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))
        self._check()

    def acknowledge(self) -> None:
        """Commit all that was handed out. What Kafka refuses now is tried again with the next commit."""
        for partition, (_, next_offset) in self._in_hand.items():
            self._to_commit[partition] = self._next[partition] = next_offset
        self._in_hand.clear()
        if not self._to_commit:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(*p, o) for p, o in self._to_commit.items()], asynchronous=False
            )
        except KafkaException as error:
            metrics.COMMITS_REFUSED.inc()
            log.warning("commit_refused", error=error.args[0].str())
        else:
            self._to_commit.clear()

    def rewind(self) -> None:
        """Hand out again what is in hand."""
        self._resume()
        for (topic, partition), (first, _) in self._in_hand.items():
            self._consumer.seek(TopicPartition(topic, partition, first))
        self._in_hand.clear()
        self._taken_away = False

    def lag(self) -> dict[str, int]:
        """Topic -> records that are not stored yet, of the partitions that are ours. Asks Kafka.

        Raises:
            KafkaException: Kafka did not answer.
        """
        ours = [(p.topic, p.partition) for p in self._consumer.assignment()]
        ends = self._offsets(ours, _LATEST)
        unknown = [p for p in ours if p not in self._next]
        if unknown:
            for p in self._consumer.committed([TopicPartition(*p) for p in unknown], timeout=5.0):
                if p.offset >= 0:
                    self._next[p.topic, p.partition] = p.offset
            self._next |= self._offsets([p for p in unknown if p not in self._next], _EARLIEST)
        lag: dict[str, int] = {}
        for topic, partition in ours:
            behind = ends[topic, partition] - self._next[topic, partition]
            lag[topic] = lag.get(topic, 0) + max(behind, 0)
        return lag

    def assigned(self) -> bool:
        """Whether the group has given us anything to read."""
        return bool(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group; what is in hand is not acknowledged."""
        self._consumer.close()

    def _hand_out(self, message: Record) -> None:
        partition = (message.topic(), message.partition())
        first = self._in_hand[partition][0] if partition in self._in_hand else message.offset()
        self._in_hand[partition] = (first, message.offset() + 1)

    def _resume(self) -> None:
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def _check(self) -> None:
        if self._taken_away:
            raise Reassigned

    def _offsets(self, partitions: Sequence[Partition], which: OffsetSpec) -> dict[Partition, int]:
        if not partitions:
            return {}
        asked = self._admin.list_offsets({TopicPartition(*p): which for p in partitions}, request_timeout=5.0)
        return {(p.topic, p.partition): future.result().offset for p, future in asked.items()}

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions_assigned", count=len(partitions))

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions_revoked", count=len(partitions))
        for gone in partitions:
            partition = (gone.topic, gone.partition)
            if self._in_hand.pop(partition, None) is not None:
                self._taken_away = True
            self._to_commit.pop(partition, None)
            self._next.pop(partition, None)
