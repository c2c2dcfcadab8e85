"""Kafka as the benchmark sees it: topics of one run, filled before and counted after."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from bench.workload import Message, Workload, key_of, topic_of
from schemas import raw, topics
from services.runtime import kafka
from services.runtime.settings import KafkaSettings

PARTITIONS: Final = 4

Headers = list[tuple[str, str | bytes | None]]
Filling = tuple[str, bytes, int, Headers]
"""A record to put on a topic: key, value, time in µs, headers."""


class RunTopics:
    """Weir's topics under a prefix of their own, with 4 partitions each; `close` removes them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
        kafka.ensure_topics(self.settings)
        self._reader = kafka.reader(self.settings)
        self._members: dict[str, Consumer] = {}

    def create(self, names: Iterable[str]) -> None:
        """More topics, named without the prefix."""
        client = kafka.admin(self.settings)
        asked = [NewTopic(self.settings.topic_prefix + name, PARTITIONS, 1) for name in names]
        for future in client.create_topics(asked).values():
            future.result(30)

    def ends(self, topic: str) -> dict[int, int]:
        """Records on a topic, by partition."""
        name = self.settings.topic_prefix + topic
        try:
            return {
                partition: self._reader.get_watermark_offsets(TopicPartition(name, partition), timeout=10)[1]
                for partition in range(PARTITIONS)
            }
        except KafkaException:  # it has no leader yet
            return dict.fromkeys(range(PARTITIONS), 0)

    def count(self, topic: str) -> int:
        """Records on a topic."""
        return sum(self.ends(topic).values())

    def members(self, group: str) -> list[int]:
        """How many partitions each member of a group has."""
        client = kafka.admin(self.settings)
        try:
            described = client.describe_consumer_groups([group], request_timeout=10)[group].result()
        except KafkaException:  # the group has no coordinator yet
            return []
        return [len(member.assignment.topic_partitions) for member in described.members]

    def committed(self, group: str, topic: str) -> int:
        """Records of a topic that a group has committed."""
        if group not in self._members:
            self._members[group] = kafka.consumer(self.settings, group=group)
        name = self.settings.topic_prefix + topic
        places = self._members[group].committed([TopicPartition(name, p) for p in range(PARTITIONS)], timeout=30)
        return sum(max(0, place.offset) for place in places)

    def records(self, topic: str) -> Iterable[bytes]:
        """All values on a topic."""
        for message in kafka.read_to_end(self.settings, topic, range(PARTITIONS)):
            yield message.value() or b""

    def close(self) -> None:
        """Remove the topics."""
        for client in (self._reader, *self._members.values()):
            client.close()
        admin = kafka.admin(self.settings)
        mine = [name for name in admin.list_topics(timeout=10).topics if name.startswith(self.settings.topic_prefix)]
        for future in admin.delete_topics(mine).values():
            future.exception(30)


def fill(there: RunTopics, workload: Workload, per_second: float | None = None) -> None:
    """Put the workload on telemetry.raw, as the bridge would: at once, or at a rate."""
    records = map(_raw_record, workload.encoded)
    put(there, topics.RAW, records if per_second is None else _paced(records, per_second))


def _paced(records: Iterable[Filling], per_second: float) -> Iterator[Filling]:
    began = time.monotonic()
    for number, record in enumerate(records):
        ahead_s = began + number / per_second - time.monotonic()
        if ahead_s > 0.01:
            time.sleep(ahead_s)
        yield record


def _raw_record(message: Message) -> Filling:
    headers: Headers = [
        (raw.MQTT_TOPIC, topic_of(message.device)),
        (raw.MQTT_DUP, b"0"),
        (raw.RECEIVED_AT, b"%d" % (message.at_us + 5_000)),
        (raw.ROUTE, "telemetry"),
    ]
    return key_of(message.device), message.payload, message.at_us, headers


def put(there: RunTopics, topic: str, records: Iterable[Filling]) -> None:
    """Put records on a topic, not compressed: Faust's client reads no lz4 by itself.

    Raises `TimeoutError` where Kafka does not take them.
    """
    producer = Producer(
        kafka.client_config(there.settings)
        | {
            "enable.idempotence": True,
            "partitioner": topics.PARTITIONER,
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
        }
    )
    name = there.settings.topic_prefix + topic
    for key, value, at_us, headers in records:
        while True:
            try:
                producer.produce(name, value, key, timestamp=at_us // 1000, headers=headers)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(120):
        raise TimeoutError(f"{topic} was not filled in 120 s")
