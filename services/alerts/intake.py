"""Reads both sources as one member of the group, and hands partitions over between workers.

Partition p of both topics goes to the same worker (strategy `range`, docs/decisions/0006), and its
aggregates are read only once its anomalies have been read to their end: time may not overtake an anomaly's end.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import topics
from services.alerts.rules import Source
from services.alerts.worker import TOPICS, Record, Worker
from services.runtime import kafka, logging
from services.runtime.errors import ConfigurationError, Defect, Unavailable
from services.runtime.settings import AlertsSettings, KafkaSettings

log = logging.get("alerts")

BATCH_RECORDS: Final = 500
BATCH_WAIT_S: Final = 0.05
"""How long an alarm may wait for other records."""
_OVERLAP_MS: Final = 300_000
"""Events are written before the states that made them: one without a state is younger than the newest state. This much
older ones are looked at too, as the clocks of two workers' machines may differ."""
ASK_S: Final = 2.0
"""Kafka counts as away when a question takes longer."""


def consumer(settings: AlertsSettings) -> Consumer:
    """A member of the group that keeps partitions of the same number together and hears of a partition's end."""
    return kafka.consumer(
        settings.kafka,
        group=settings.alerts.group,
        session_timeout_ms=settings.alerts.session_timeout_ms,
        **{"partition.assignment.strategy": "range", "enable.partition.eof": True},
    )


class Intake:
    """The consumer's side of the worker. `before_handover` is called before partitions are given away in good order."""

    def __init__(
        self, settings: KafkaSettings, consumer: Consumer, worker: Worker, before_handover: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._worker = worker
        self._before_handover = before_handover
        self.has_joined = False
        """Whether the group has said what is ours, be it nothing."""
        self._sources = {settings.topic_prefix + topic: source for source, topic in TOPICS.items()}
        self._anomalies = settings.topic_prefix + topics.ANOMALIES
        self._aggregates = settings.topic_prefix + topics.AGGREGATES

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(self._sources), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def read(self) -> list[Record]:
        """What has come, after a short wait. Rebalances happen in here and nowhere else."""
        records = []
        for message in self._consumer.consume(BATCH_RECORDS, BATCH_WAIT_S):
            error = message.error()
            if error is None:
                records.append(_record(self._sources, message))
            elif error.code() == KafkaError._PARTITION_EOF:
                if message.topic() == self._anomalies:
                    self._consumer.resume([TopicPartition(self._aggregates, message.partition() or 0)])
            elif error.fatal():
                raise Unavailable(f"Kafka's client gave up: {error.str()}")
        return records

    def lag(self) -> dict[str, int]:
        """Topic -> records not read yet, of the partitions that are ours. Asks Kafka.

        Raises:
            KafkaException: Kafka did not answer.
        """
        ours = self._consumer.assignment()
        lag = dict.fromkeys(self._sources, 0)
        if not ours:
            return lag
        committed = self._consumer.committed(ours, timeout=ASK_S)
        there = kafka.bounds_of(self._settings, ours, ask_s=ASK_S)
        for at, read in zip(committed, self._consumer.position(ours), strict=True):
            first, end = there[at.topic, at.partition]
            lag[at.topic] += end - max(first, at.offset, read.offset)
        return lag

    def _on_assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        of_source = {topic: {p.partition for p in partitions if p.topic == topic} for topic in self._sources}
        numbers = of_source[self._anomalies]
        if numbers != of_source[self._aggregates]:
            raise Defect(f"the group does not keep partitions of the same number together: {of_source}")
        if numbers:
            self._recover(numbers)
        self.has_joined = True
        client.assign(partitions)
        client.pause([p for p in partitions if p.topic == self._aggregates])
        log.info("partitions_assigned", partitions=sorted(numbers))

    def _on_revoke(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        self._before_handover()
        self._worker.drop({p.partition for p in partitions})
        log.info("partitions_revoked", partitions=sorted({p.partition for p in partitions}))

    def _on_lost(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        self._worker.drop({p.partition for p in partitions})
        log.warning("partitions_lost", partitions=sorted({p.partition for p in partitions}))

    def _recover(self, numbers: Iterable[int]) -> None:
        states: dict[int, list[tuple[str, bytes]]] = {number: [] for number in numbers}
        newest_ms: dict[int, int] = {}
        written: dict[int, list[str]] = {number: [] for number in states}
        sources = [TopicPartition(topic, number) for topic in self._sources for number in states]
        try:
            for message in kafka.read_to_end(self._settings, topics.ALERT_STATE, states):
                number, key, value = message.partition(), message.key(), message.value()
                if number is not None and key is not None and value is not None:
                    states[number].append((_text(key), _bytes(value)))
                    newest_ms[number] = max(newest_ms.get(number, 0), message.timestamp()[1])
            since_ms = {number: at - _OVERLAP_MS for number, at in newest_ms.items()}
            for message in kafka.read_to_end(self._settings, topics.ALERT_EVENTS, states, since_ms):
                written[message.partition() or 0].append(_event_id(_bytes(message.value() or b"")))
            there = kafka.bounds_of(self._settings, sources)
        except KafkaException as error:
            raise Unavailable(f"the state of partitions {sorted(numbers)} could not be read: {error}") from error
        for number in sorted(states):
            self._worker.take(number, states[number], written[number])
        for (topic, number), (_, end) in there.items():
            check_origin(topic, number, self._worker.applied(number, self._sources[topic]), end)


def _record(sources: dict[str, Source], message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise Defect("a record without topic, partition or offset")
    return Record(sources[topic], partition, offset, _bytes(message.value() or b""))


class _Identified(msgspec.Struct):
    id: str


def _event_id(value: bytes) -> str:
    try:
        return msgspec.json.decode(value, type=_Identified).id
    except msgspec.MsgspecError:
        return ""


def _text(data: str | bytes) -> str:
    return data.decode() if isinstance(data, bytes) else data


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def check_origin(topic: str, partition: int, applied: int, end: int) -> None:
    """Refuse state that has seen more of a topic than there is.

    Raises:
        ConfigurationError: The topic was made anew, or lost its tail; names the fix.
    """
    if applied >= end:
        raise ConfigurationError(
            f"partition {partition}: the alarms' state has applied offset {applied}, but {topic} ends at {end}: it was"
            " made anew, or lost its tail. If that is meant, stop all alerts workers and remove the topic"
            " weir-alerts-state and the consumer group (kafka-topics --delete, kafka-consumer-groups --delete)"
        )
