"""Slices of topics, from offset to offset, outside any consumer group: nobody's offsets move."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition

from services.console import local_stack
from services.console.records import ANSWER_S, check_reachable, kafka_answers
from services.runtime import kafka, settings
from services.runtime.errors import Unavailable
from services.runtime.settings import KafkaSettings, ToolSettings

_STEP: Final = 2000
_WAIT_S: Final = 0.2
_SILENT_WAITS: Final = 150


class Slice(NamedTuple):
    """Offsets of one partition: [first, end)."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """Offsets in it."""
        return max(0, self.end - self.first)


class LogSlices:
    """Topics by their names without the prefix. Making one raises `Unavailable` where Kafka cannot be reached."""

    def __init__(self, told: KafkaSettings) -> None:
        check_reachable(told)
        self._settings = told
        self._admin = kafka.admin(told)
        # A fetch at the end of one slice would hold up the first of the next.
        self._consumer = kafka.reader(told, **{"fetch.wait.max.ms": 10})

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions.

        Raises:
            Unavailable: Kafka is away, or has no such topic: no service of Weir has run yet.
        """
        name = self._name(topic)
        with kafka_answers(self._settings):
            found = self._admin.list_topics(timeout=ANSWER_S).topics.get(name)
        if found is None:
            raise Unavailable(f"Kafka has no topic {name}: Weir's services create it when they start (`weir up`)")
        return sorted(found.partitions)

    def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Slice]:
        """Partition -> all that is there of it now."""
        with kafka_answers(self._settings):
            return {p: Slice(*at) for p, at in kafka.bounds(self._settings, topic, partitions).items()}

    def offsets_at(self, topic: str, at_us: int, bounds: Mapping[int, Slice]) -> dict[int, int]:
        """Partition -> offset of the first record that was written then or later; the end where there is none."""
        asked = [TopicPartition(self._name(topic), p, max(at_us // 1000, 0)) for p in bounds]
        with kafka_answers(self._settings):
            found = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
        return {at.partition: at.offset if at.offset >= 0 else bounds[at.partition].end for at in found}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Partition -> the group's next offset, where it has committed any."""
        name = self._name(topic)
        asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_S)
        with kafka_answers(self._settings):
            offsets = asked[group].result().topic_partitions or []
        return {at.partition: at.offset for at in offsets if at.topic == name and at.offset >= 0}

    def read(self, topic: str, partition: int, slice_: Slice) -> Iterator[Message]:
        """The slice's records, in order. One at a time: a slice that was not read to its end is given up.

        Raises:
            Unavailable: Kafka stopped answering.
        """
        if not slice_.size:
            return
        name = self._name(topic)
        self._consumer.assign([TopicPartition(name, partition, slice_.first)])
        silent, following = 0, slice_.first
        while True:
            # No more than are there: it would wait for them.
            taken: list[Any] = self._consumer.consume(min(_STEP, slice_.end - following), _WAIT_S)
            silent = 0 if taken else silent + 1
            if silent > _SILENT_WAITS:
                raise Unavailable(f"Kafka at {self._settings.bootstrap} sends no records of {name}; try again")
            for message in taken:
                error = message.error()
                if error is None:
                    if message.offset() >= slice_.end:
                        return
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:
                    with kafka_answers(self._settings):
                        raise KafkaException(error)
            # The end may have gone by retention or compaction: the position tells, not the last record.
            (at,) = self._consumer.position([TopicPartition(name, partition)])
            following = max(following, at.offset)
            if following >= slice_.end:
                return

    def written_us(self, topic: str, partition: int, slice_: Slice) -> int | None:
        """When the slice's first record was written (unix µs); None: it has none."""
        first = next(self.read(topic, partition, slice_), None)
        return None if first is None else first.timestamp()[1] * 1000

    def _name(self, topic: str) -> str:
        return self._settings.topic_prefix + topic


@contextmanager
def opened_log() -> Iterator[tuple[ToolSettings, LogSlices]]:
    """The settings, those of a local stack that runs here if there is one, and its log while the block lasts."""
    local_stack.adopt()
    told = settings.load(ToolSettings)
    log = LogSlices(told.kafka)
    try:
        yield told, log
    finally:
        log.close()
