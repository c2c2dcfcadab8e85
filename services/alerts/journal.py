"""The worker's `Journal` over Kafka: what it was given is durable in all replicas when a call returns."""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas import topics
from schemas.alarm import AlarmEvent
from services.alerts.rules import Source
from services.alerts.worker import TOPICS, StateWrite
from services.runtime import logging
from services.runtime.errors import Defect, Unavailable

log = logging.get("alerts")

_encode = msgspec.json.Encoder().encode


class KafkaJournal:
    """Writes events and states with `producer` and waits for them; commits with `consumer`.

    `waiting` is called about once a second while Kafka does not answer; when it returns False, the wait is given up
    (Unavailable): nothing was committed, and the next start goes on from there.
    """

    def __init__(self, producer: Producer, consumer: Consumer, prefix: str, waiting: Callable[[], bool]) -> None:
        self._producer = producer
        self._consumer = consumer
        self._prefix = prefix
        self._waiting = waiting
        self._refused: list[str] = []

    def events(self, events: Sequence[AlarmEvent]) -> None:
        """Write alarm events."""
        for event in events:
            key = topics.key_of(event.tenant, event.device)
            self._produce(topics.ALERT_EVENTS, key, _encode(event))
        self._flush()

    def states(self, states: Sequence[StateWrite]) -> None:
        """Write device states, each into the partition that it belongs to."""
        for write in states:
            self._produce(topics.ALERT_STATE, write.key, write.value, write.partition)
        self._flush()

    def commit(self, positions: Mapping[tuple[Source, int], int]) -> None:
        """Commit the next offsets; refused ones are covered by the next commit, and by the applied offsets."""
        offsets = [TopicPartition(self._prefix + TOPICS[s], p, offset) for (s, p), offset in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("commit_refused", error=error.args[0].str())

    def _produce(self, topic: str, key: str, value: bytes | None, partition: int = -1) -> None:
        while True:
            try:
                self._producer.produce(
                    self._prefix + topic, key=key, value=value, partition=partition, on_delivery=self._on_delivery
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _flush(self) -> None:
        began_s, warned = time.monotonic(), False
        while self._producer.flush(1.0):
            if not self._waiting():
                raise Unavailable("Kafka did not take what was written; nothing is committed")
            if not warned:
                log.warning("kafka_unavailable")
                warned = True
        if warned:
            log.info("kafka_back", after_s=round(time.monotonic() - began_s, 1))
        if self._refused:
            raise Defect(f"Kafka refused a record for good: {self._refused[0]}")

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(f"{message.topic()}: {error.str()}")
