"""The sink's consumer: hands out records, acknowledges what was stored, and stays in its group while it waits.

It remembers what it has handed out and nobody has acknowledged. Where a rebalance takes one of those partitions away,
the batch in hand is given up (`Reassigned`): the new owner reads those records again, and writing them here as well
could put an older state of a point over its newer one.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from services.runtime import kafka, logging
from services.runtime.errors import Unavailable
from services.runtime.settings import KafkaSettings
from services.sink import metrics
from services.sink.batches import BatchAbandoned, Record

log = logging.get("sink")


_ANSWER_S = 2.0
"""Longest wait for what Kafka is asked."""
_LEAVE_S = 3.0
"""Longest wait for the last commit, and then for leaving the group."""

Partition = tuple[str, int]
"""Topic and partition."""


class Reassigned(BatchAbandoned):
    """A partition of the batch in hand belongs to another sink now."""


class KafkaSource:
    """Reads topics as a member of a consumer group. One thread."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        *,
        group: str,
        session_timeout_ms: int,
        most_between_polls_ms: int,
    ) -> None:
        """Without `read` or `idle` for `most_between_polls_ms`, the group gives our partitions to others."""
        self._consumer = kafka.consumer(
            settings,
            group=group,
            session_timeout_ms=session_timeout_ms,
            on_commit=self._on_commit,
            **{"max.poll.interval.ms": most_between_polls_ms},
        )
        self._in_hand: dict[Partition, tuple[int, int]] = {}
        """First and next offset of what was handed out and is neither acknowledged nor rewound."""
        self._to_commit: dict[Partition, int] = {}
        """Acknowledged, and not known to be committed."""
        self._next: dict[Partition, int] = {}
        """Next offset to store, of each partition that is ours."""
        self._commit_under_way = False
        self._confirmed = False
        """Whether Kafka has confirmed a commit since `lag` was last asked for."""
        self._commits = logging.Outage(log, "commit_refused", "commits_accepted")
        self._fetches = logging.Outage(log, "fetch_failed", "fetch_back")
        self._taken_away = False
        self._paused = False
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def read(self, most_records: int, wait_s: float) -> list[Record]:
        """Up to `most_records` records, after at most `wait_s` seconds.

        Raises:
            Reassigned: A partition of the batch in hand was taken away.
            Unavailable: Kafka's client gave up for good.
        """
        self._resume()
        records: list[Record] = []
        consumed: list[Any] = self._consumer.consume(most_records, wait_s)
        for message in consumed:
            if (error := message.error()) is None:
                records.append(message)
            else:
                self._complain(error)
        if records:
            self._hand_out(records)
            self._fetches.worked()
        self._check()
        return records

    def idle(self, seconds: float) -> None:
        """Read nothing for `seconds`, and stay in the group.

        Raises:
            Reassigned, Unavailable: As in `read`.
        """
        self._consumer.pause(self._consumer.assignment())
        self._paused = True
        message: Any = self._consumer.poll(seconds)
        if message is not None and (error := message.error()) is not None:
            self._complain(error)
        elif message is not None:
            # Of a partition that was assigned just now, and so not paused: it must come again.
            self._consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))
        self._check()

    def acknowledge(self) -> None:
        """Commit all that was handed out. Does not wait for Kafka; what it refuses is tried again the next time."""
        for partition, (_, next_offset) in self._in_hand.items():
            self._to_commit[partition] = self._next[partition] = next_offset
        self._in_hand.clear()
        if self._to_commit and not self._commit_under_way:
            self._commit_under_way = True
            offsets = [TopicPartition(*partition, offset) for partition, offset in self._to_commit.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def rewind(self) -> None:
        """Hand out again what is in hand."""
        self._resume()
        for (topic, partition), (first, _) in self._in_hand.items():
            self._consumer.seek(TopicPartition(topic, partition, first))
        self._in_hand.clear()
        self._taken_away = False

    def lag(self) -> dict[str, int]:
        """Topic -> records that are not stored yet, of the partitions that are ours and whose end is known.

        Raises:
            KafkaException: Kafka did not answer.
        """
        ours = self._consumer.assignment()
        unknown = [p for p in ours if (p.topic, p.partition) not in self._next]
        # Asked by the group's own connection, and only where no commit has shown that Kafka answers: on that of the
        # fetch an answer comes after the fetch's (0.5 s where nothing new is there), and nothing is stored meanwhile.
        asked = unknown or ([] if self._confirmed else ours[:1])
        self._confirmed = False
        for p in self._consumer.committed(asked, timeout=_ANSWER_S) if asked else []:
            following = p.offset if p.offset >= 0 else self._bounds(p)[0]
            if following >= 0:
                self._next.setdefault((p.topic, p.partition), following)
        lag: dict[str, int] = {}
        for p in ours:
            first, end = self._bounds(p)
            behind = end - self._next.get((p.topic, p.partition), first)
            lag[p.topic] = lag.get(p.topic, 0) + max(behind, 0)
        return lag

    def assigned(self) -> bool:
        """Whether the group has given us anything to read."""
        return bool(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group, with the last acknowledgements committed if Kafka answers; what is in hand is not."""
        self._in_hand.clear()
        until = time.monotonic() + _LEAVE_S
        while (self._to_commit or self._commit_under_way) and time.monotonic() < until:
            self.acknowledge()
            self._consumer.pause(self._consumer.assignment())
            self._consumer.poll(0.1)
        # With Kafka away and a commit under way, close() waits for minutes: then the session's timeout takes us out.
        leaving = threading.Thread(target=self._consumer.close, name="leave-group", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_S)
        if leaving.is_alive():
            log.warning(
                "group_not_left", why="Kafka does not answer; another sink takes over after the session timeout"
            )

    def _hand_out(self, records: list[Record]) -> None:
        """Write down what is in hand. A partition's records come in runs: the two ends of each are enough."""
        number, topic, first = records[0].partition(), records[0].topic(), records[0].offset()
        before = first
        for record in records:
            if record.partition() != number or record.topic() != topic:
                self._add_in_hand((topic, number), first, before + 1)
                number, topic, first = record.partition(), record.topic(), record.offset()
            before = record.offset()
        self._add_in_hand((topic, number), first, before + 1)

    def _add_in_hand(self, partition: Partition, first: int, following: int) -> None:
        self._in_hand[partition] = (self._in_hand.get(partition, (first, following))[0], following)

    def _complain(self, error: KafkaError) -> None:
        if error.fatal():
            raise Unavailable(f"Kafka's client gave up: {error.str()}")
        metrics.FETCH_ERRORS.inc()
        self._fetches.failed(error=error.str())

    def _resume(self) -> None:
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def _check(self) -> None:
        if self._taken_away:
            raise Reassigned

    def _bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """First and next offset of a partition: as the last fetch said, or while nothing is fetched as Kafka says now.

        Before its first fetch both are -1001 (unknown), and nothing is known to be behind.
        """
        first, end = self._consumer.get_watermark_offsets(partition, timeout=_ANSWER_S, cached=not self._paused)
        return first, end

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commit_under_way = False
        refused = error or next((p.error for p in partitions if p.error), None)
        if refused is not None:
            metrics.COMMITS_REFUSED.inc()
            self._commits.failed(error=refused.str())
            return
        self._commits.worked()
        self._confirmed = True
        for p in partitions:
            partition = (p.topic, p.partition)
            if self._to_commit.get(partition) == p.offset:
                del self._to_commit[partition]

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
