"""Reads topics as records, outside any consumer group: nobody's offsets move."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import catalogue, topics
from services.runtime import kafka
from services.runtime.errors import ConfigurationError, Unavailable
from services.runtime.settings import KafkaSettings

ANSWER_S: Final = 10.0
"""Kafka counts as away when it takes longer over a question."""
_CONNECT_S: Final = 3.0
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


def check_reachable(settings: KafkaSettings) -> None:
    """Say at once that nobody listens, where Kafka's client would try for as long as it is given.

    Raises:
        Unavailable: Names each address and why it cannot be reached.
    """
    reasons = []
    for address in settings.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, ValueError) as error:
            reasons.append(f"{address}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    raise Unavailable(
        f"Kafka cannot be reached ({'; '.join(reasons)}): start it with `weir up`, or correct WEIR_KAFKA__BOOTSTRAP"
    )


class Reader:
    """Topics by their names without the prefix. Making one raises `Unavailable` where Kafka cannot be reached."""

    def __init__(self, settings: KafkaSettings) -> None:
        check_reachable(settings)
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

    def ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that the next record will get."""
        name = self._settings.topic_prefix + topic
        ends = {}
        for partition in self.partitions(topic):
            with kafka_answers(self._settings):
                ends[partition] = self._watermarks(name, partition)[1]
        return ends

    def since(self, topic: str, start_us: int, *, key: str | None = None) -> Iterator[Entry]:
        """Records written since (unix µs) up to the end as it is now; of one key only, where it is given.

        They come in order within each partition, and a key's all stand in one.
        """
        name = self._settings.topic_prefix + topic
        ends = self.ends(topic)
        asked = [TopicPartition(name, p, max(start_us // 1000, 0)) for p in ends]
        with kafka_answers(self._settings):
            begins = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
            yield from self._read({b.partition: b.offset for b in begins if b.offset >= 0}, name, ends, key)

    def last(self, topic: str, most: int, ends: Mapping[int, int]) -> list[Entry]:
        """The last records of each partition before `ends`, at most so many, by time of writing."""
        name = self._settings.topic_prefix + topic
        begins = {}
        for partition, end in ends.items():
            with kafka_answers(self._settings):
                low = self._watermarks(name, partition)[0]
            begins[partition] = max(low, end - most)
        with kafka_answers(self._settings):
            return sorted(self._read(begins, name, ends, None), key=lambda entry: entry.timestamp_ms)

    def follow(self, begins: Mapping[str, Mapping[int, int]]) -> None:
        """From now on, `take` hands out what stands in these topics from these offsets on."""
        prefix = self._settings.topic_prefix
        self._consumer.assign(
            [TopicPartition(prefix + topic, p, offset) for topic, each in begins.items() for p, offset in each.items()]
        )

    def take(self, most: int, wait_s: float) -> list[Entry]:
        """What came to the followed topics; an absent Kafka is waited for."""
        taken: list[Any] = self._consumer.consume(most, wait_s)
        return [self._entry(message) for message in taken if message.error() is None]

    def _watermarks(self, name: str, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=ANSWER_S)
        return low, high

    def _read(self, begins: Mapping[int, int], name: str, ends: Mapping[int, int], key: str | None) -> Iterator[Entry]:
        """From `begins` to `ends`, or to where the partition ends now."""
        left = {partition for partition, begin in begins.items() if begin < ends[partition]}
        wanted = None if key is None else key.encode()
        self._consumer.assign([TopicPartition(name, partition, begins[partition]) for partition in left])
        silent_since = time.monotonic()
        while left:
            taken: list[Any] = self._consumer.consume(_STEP, 0.2)
            if taken:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > ANSWER_S:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no records"))
            for message in taken:
                error, partition = message.error(), message.partition()
                if error is None and partition in left:
                    if message.offset() < ends[partition] and wanted in (None, message.key()):
                        yield self._entry(message)
                    if message.offset() >= ends[partition] - 1:
                        left.discard(partition)
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
                elif error is not None and error.fatal():
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
