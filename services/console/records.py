"""Reads topics as records, outside any consumer group: nobody's offsets move."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import catalogue, topics
from services.runtime import kafka
from services.runtime.errors import ConfigurationError, Unavailable
from services.runtime.settings import KafkaSettings

ANSWER_S: Final = 10.0
"""Kafka counts as away when it takes longer over a question."""
_STEP: Final = 1000


class Entry(NamedTuple):
    """One record on a topic. `record` is None where the topic holds no JSON, or the value is no record of it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: dict[str, str]
    value: bytes
    record: Any


def full_name(topic: str) -> str:
    """A topic's name from what a person types: `scores` for `telemetry.scores`.

    Raises:
        ConfigurationError: No such topic; names those there are.
    """
    names = [t.name for t in topics.ALL]
    for candidate in (topic, f"telemetry.{topic}", f"alerts.{topic}", f"weir-{topic}"):
        if candidate in names:
            return candidate
    raise ConfigurationError(f"no topic {topic!r}; there are: {', '.join(names)}")


@contextmanager
def kafka_answers(settings: KafkaSettings) -> Iterator[None]:
    """Kafka's silence as an error that says what to do."""
    try:
        yield
    except KafkaException as error:
        raise Unavailable(
            f"Kafka at {settings.bootstrap} did not answer ({error.args[0].str()}): start it with `weir up`, or correct"
            " WEIR_KAFKA__BOOTSTRAP"
        ) from error


class Reader:
    """Topics by their names without the prefix."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._decode = _decoders()
        self._consumer: Consumer = kafka.reader(settings)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions.

        Raises:
            Unavailable: Kafka is away, or has no such topic: no service of Weir has run yet.
        """
        name = self._settings.topic_prefix + topic
        with kafka_answers(self._settings):
            found = self._consumer.list_topics(timeout=ANSWER_S).topics.get(name)
        if found is None:
            raise Unavailable(f"Kafka has no topic {name}: Weir's services create it when they start (`weir up`)")
        return sorted(found.partitions)

    def since(self, topic: str, start_us: int, *, partitions: Sequence[int] | None = None) -> Iterator[Entry]:
        """All records written since (unix µs) up to the end as it is now, in order within each partition."""
        name = self._settings.topic_prefix + topic
        asked = [TopicPartition(name, p, max(start_us // 1000, 0)) for p in partitions or self.partitions(topic)]
        with kafka_answers(self._settings):
            begins = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
            yield from self._read([b for b in begins if b.offset >= 0])

    def last(self, topic: str, most: int) -> list[Entry]:
        """The last records over all partitions, by time of writing."""
        name = self._settings.topic_prefix + topic
        begins = []
        for partition in self.partitions(topic):
            with kafka_answers(self._settings):
                low, high = self._consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=ANSWER_S)
            if high > low:
                begins.append(TopicPartition(name, partition, max(low, high - most)))
        with kafka_answers(self._settings):
            found = sorted(self._read(begins), key=lambda entry: entry.timestamp_ms)
        return found[-most:] if most else []

    def at(self, topic: str, partition: int, offset: int) -> Entry | None:
        """The record that stands there; None where retention has taken it."""
        name = self._settings.topic_prefix + topic
        with kafka_answers(self._settings):
            found = next(self._read([TopicPartition(name, partition, offset)]), None)
        return found if found is not None and found.offset == offset else None

    def follow(self, names: Sequence[str]) -> None:
        """From now on, `take` hands out what is written to these topics."""
        self._consumer.assign(
            [
                TopicPartition(self._settings.topic_prefix + topic, p, OFFSET_END)
                for topic in names
                for p in self.partitions(topic)
            ]
        )

    def take(self, most: int, wait_s: float) -> list[Entry]:
        """What was written to the followed topics; an absent Kafka is waited for."""
        taken: list[Any] = self._consumer.consume(most, wait_s)
        return [self._entry(message) for message in taken if message.error() is None]

    def _read(self, begins: list[TopicPartition]) -> Iterator[Entry]:
        """From `begins` to each partition's present end."""
        left = {b.partition for b in begins}
        if not left:
            return
        self._consumer.assign(begins)
        silent_since = time.monotonic()
        while left:
            taken: list[Any] = self._consumer.consume(_STEP, 0.2)
            if taken:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > ANSWER_S:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no records"))  # noqa: SLF001 - its public name
            for message in taken:
                error = message.error()
                if error is None:
                    if message.partition() in left:
                        yield self._entry(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    left.discard(message.partition())
                elif error.fatal():
                    raise KafkaException(error)
        self._consumer.unassign()

    def _entry(self, message: Message) -> Entry:
        topic = str(message.topic()).removeprefix(self._settings.topic_prefix)
        value = message.value() or b""
        return Entry(
            topic=topic,
            partition=int(message.partition() or 0),
            offset=int(message.offset() or 0),
            timestamp_ms=message.timestamp()[1],
            key=(message.key() or b"").decode(errors="replace"),
            headers=_headers(message.headers()),
            value=value,
            record=self._record(topic, value),
        )

    def _record(self, topic: str, value: bytes) -> Any:
        decode = self._decode.get(topic)
        if decode is None:
            return None
        try:
            return decode(value)
        except msgspec.DecodeError:
            return None


def _decoders() -> Mapping[str, Callable[[bytes], Any]]:
    return {
        flow.topic: msgspec.json.Decoder(flow.records[0]).decode for flow in catalogue.FLOWS if len(flow.records) == 1
    }


def _headers(found: Any) -> dict[str, str]:
    return {name: (text or b"").decode(errors="replace") for name, text in found or ()}
