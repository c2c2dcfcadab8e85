"""Kafka as the benchmark sees it: topics of one run, filled before and counted after."""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.cimpl import NewTopic

from bench.workload import Workload, key_of, topic_of
from schemas import raw, topics
from services.runtime import kafka
from services.runtime.settings import KafkaSettings

PARTITIONS: Final = 4


class RunTopics:
    """Weir's topics under a prefix of their own, with 4 partitions each; `close` removes them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
        kafka.ensure_topics(self.settings)
        self._reader = kafka.reader(self.settings)

    def create(self, names: Iterable[str]) -> None:
        """More topics, named without the prefix."""
        client = kafka.admin(self.settings)
        asked = [NewTopic(self.settings.topic_prefix + name, PARTITIONS, 1) for name in names]
        for future in client.create_topics(asked).values():
            future.result(30)

    def count(self, topic: str) -> int:
        """Records on a topic."""
        name = self.settings.topic_prefix + topic
        try:
            return sum(
                self._reader.get_watermark_offsets(TopicPartition(name, partition), timeout=10)[1]
                for partition in range(PARTITIONS)
            )
        except KafkaException:  # it has no leader yet
            return 0

    def committed(self, group: str, topic: str) -> int:
        """Records of a topic that a group has committed."""
        client = kafka.consumer(self.settings, group=group)
        name = self.settings.topic_prefix + topic
        places = client.committed([TopicPartition(name, p) for p in range(PARTITIONS)], timeout=30)
        client.close()
        return sum(max(0, place.offset) for place in places)

    def records(self, topic: str) -> Iterable[bytes]:
        """All values on a topic."""
        for message in kafka.read_to_end(self.settings, topic, range(PARTITIONS)):
            yield message.value() or b""

    def reader(self) -> Consumer:
        """A consumer outside of any group."""
        return kafka.reader(self.settings)

    def close(self) -> None:
        """Remove the topics."""
        self._reader.close()
        client = kafka.admin(self.settings)
        mine = [name for name in client.list_topics(timeout=10).topics if name.startswith(self.settings.topic_prefix)]
        for future in client.delete_topics(mine).values():
            future.exception(30)


def fill(there: RunTopics, workload: Workload) -> None:
    """Put the workload on telemetry.raw, as the bridge would."""
    records = (
        (
            key_of(message.device),
            message.payload,
            message.at_us,
            [
                (raw.MQTT_TOPIC, topic_of(message.device)),
                (raw.MQTT_DUP, b"0"),
                (raw.RECEIVED_AT, b"%d" % (message.at_us + 5_000)),
                (raw.ROUTE, "telemetry"),
            ],
        )
        for message in workload.encoded
    )
    put(there, topics.RAW, records)


def put(
    there: RunTopics, topic: str, records: Iterable[tuple[str, bytes, int, list[tuple[str, str | bytes | None]]]]
) -> None:
    """Key, value, time in µs and headers -> records on a topic. Raises `TimeoutError` where Kafka does not take them."""
    producer = kafka.producer(there.settings, linger_ms=20, queue_messages=200_000)
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
