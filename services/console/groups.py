"""Consumer groups: what each has committed, against the ends of its topics. Asks Kafka and joins no group."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
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


def lags(client: AdminClient, groups: Sequence[str], partitions: Mapping[str, Sequence[int]]) -> list[GroupLag]:
    """Each group's lag on the topics that it has committed offsets of; `partitions` are Weir's topics.

    Raises:
        KafkaException: Kafka did not answer.
    """
    all_of_them = [TopicPartition(topic, p) for topic, numbers in partitions.items() for p in numbers]
    ends = _offsets(client, all_of_them, _LATEST)
    begins = _offsets(client, all_of_them, _EARLIEST)
    found = []
    for group in groups:
        described = client.describe_consumer_groups([group], request_timeout=_SECONDS)[group].result()
        asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=_SECONDS)
        committed = asked[group].result().topic_partitions or []
        found.append(GroupLag(group, len(described.members), lag_by_topic(committed, begins, ends)))
    return found


def lag_by_topic(
    committed: Sequence[TopicPartition], begins: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
) -> dict[str, int]:
    """Topic -> records between what was committed and the end, over the topics of which anything was committed.

    A partition without a commit counts from its first record: so the services read it.
    """
    offsets = {(c.topic, c.partition): c.offset for c in committed if c.offset >= 0}
    read = {topic for topic, _ in offsets}
    lag: dict[str, int] = {}
    for (topic, partition), end in sorted(ends.items()):
        if topic in read:
            begin = begins[topic, partition]
            lag[topic] = lag.get(topic, 0) + max(0, end - max(offsets.get((topic, partition), begin), begin))
    return lag


def _offsets(client: AdminClient, asked: Sequence[TopicPartition], which: OffsetSpec) -> dict[tuple[str, int], int]:
    futures = client.list_offsets(dict.fromkeys(asked, which), request_timeout=_SECONDS)
    return {(p.topic, p.partition): future.result().offset for p, future in futures.items()}
