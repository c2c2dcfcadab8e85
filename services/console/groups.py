"""Consumer groups: what each has committed, against the ends of its topics. Asks Kafka and joins no group."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from services.runtime import kafka
from services.runtime.settings import KafkaSettings

_SECONDS: Final = 10.0


class GroupLag(msgspec.Struct, frozen=True):
    """Records that a group has not committed yet, by topic. `members` 0: nobody reads."""

    group: str
    members: int
    topics: dict[str, int]

    @property
    def total(self) -> int:
        """Over all topics."""
        return sum(self.topics.values())


def lags(told: KafkaSettings, groups: Sequence[str], partitions: Mapping[str, Sequence[int]]) -> list[GroupLag]:
    """Each group's lag on the topics that it has committed offsets of; `partitions` are Weir's topics.

    Raises:
        KafkaException: Kafka did not answer.
    """
    all_of_them = [TopicPartition(topic, p) for topic, numbers in partitions.items() for p in numbers]
    client = kafka.admin(told)
    there = kafka.bounds_of(told, all_of_them, ask_s=_SECONDS)
    found = []
    for group in groups:
        described = client.describe_consumer_groups([group], request_timeout=_SECONDS)[group].result()
        asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=_SECONDS)
        committed = asked[group].result().topic_partitions or []
        found.append(GroupLag(group, len(described.members), lag_by_topic(committed, there)))
    return found


def lag_by_topic(
    committed: Sequence[TopicPartition], there: Mapping[tuple[str, int], tuple[int, int]]
) -> dict[str, int]:
    """Topic -> records between what was committed and the end, over the topics of which anything was committed.

    A partition without a commit counts from its first record: so the services read it.
    """
    offsets = {(c.topic, c.partition): c.offset for c in committed if c.offset >= 0}
    read = {topic for topic, _ in offsets}
    lag: dict[str, int] = {}
    for (topic, partition), (begin, end) in sorted(there.items()):
        if topic in read:
            lag[topic] = lag.get(topic, 0) + max(0, end - max(offsets.get((topic, partition), begin), begin))
    return lag
