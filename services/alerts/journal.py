"""The worker's `Journal` over Kafka: what it was given is durable in all replicas when a call returns."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from schemas import topics
from schemas.alarm import AlarmEvent
from services.alerts.rules import Source
from services.alerts.worker import TOPICS, StateWrite
from services.runtime import logging
from services.runtime.log_writer import LogWriter, Waiting

log = logging.get("alerts")

_encode = msgspec.json.Encoder().encode


class KafkaJournal:
    """Writes events and states with `producer` and waits for them; commits with `consumer`.

    `waiting` is called while Kafka does not answer; where it raises, nothing was committed, and the next start goes on
    from there. `check` is called before anything is written, and raises where it may not be.
    """

    def __init__(
        self, producer: Producer, consumer: Consumer, prefix: str, *, check: Callable[[], None], waiting: Waiting
    ) -> None:
        self._writer = LogWriter(producer, prefix)
        self._consumer = consumer
        self._prefix = prefix
        self._check = check
        self._waiting = waiting

    def events(self, events: Sequence[AlarmEvent]) -> None:
        """Write alarm events."""
        self._check()
        for event in events:
            key = topics.key_of(event.tenant, event.device)
            self._writer.send(topics.ALERT_EVENTS, key, _encode(event), self._waiting)
        self._writer.flush(self._waiting)

    def states(self, states: Sequence[StateWrite]) -> None:
        """Write device states, each into the partition that it belongs to."""
        self._check()
        for write in states:
            self._writer.send(topics.ALERT_STATE, write.key, write.value, self._waiting, partition=write.partition)
        self._writer.flush(self._waiting)

    def commit(self, positions: Mapping[tuple[Source, int], int]) -> None:
        """Commit the next offsets; refused ones are covered by the next commit, and by the applied offsets."""
        offsets = [TopicPartition(self._prefix + TOPICS[s], p, offset) for (s, p), offset in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("commit_refused", error=error.args[0].str())
