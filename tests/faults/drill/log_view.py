"""What stands in Kafka's logs, followed by plain readers on the direct listener, outside of any group."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

_SEQ: Final = re.compile(rb'"seq": ?(\d+)')
_ID: Final = re.compile(rb'"id":"((?:[^"\\]|\\.)*)"')
_LEAD: Final = 8
_ANSWER_S: Final = 15.0


class Tail:
    """Follows one topic from its beginning: each `news` gives what has come since the last."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._next: dict[int, int] = {}

    def news(self) -> Iterator[Message]:
        """Records up to where the partitions end now, in order within each. Raises KafkaException: Kafka is away."""
        reader = _client(self._bootstrap)
        try:
            numbers = reader.list_topics(self._topic, timeout=_ANSWER_S).topics[self._topic].partitions
            bounds = {p: _bounds(reader, self._topic, p) for p in numbers}
            ends = {p: end for p, (low, end) in bounds.items() if self._next.get(p, low) < end}
            reader.assign([TopicPartition(self._topic, p, self._next.get(p, bounds[p][0])) for p in ends])
            while ends:
                for message in reader.consume(2000, 0.05):
                    if message.error() is not None:
                        raise KafkaException(message.error())
                    partition = message.partition() or 0
                    self._next[partition] = (message.offset() or 0) + 1
                    yield message
                ends = {p: end for p, end in ends.items() if self._next.get(p, 0) < end}
        finally:
            reader.close()


def _client(bootstrap: str, group: str = "drill") -> Consumer:
    """A client that joins no group and commits nothing.

    A new one for each question: after Kafka was killed an old one refuses for minutes. No admin client: one that asks
    for a group's offsets aborts the process when Kafka dies at that moment (librdkafka #4605, open).
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )


def _bounds(client: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First and next offset."""
    low, end = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWER_S)
    return low, end


class RawLog:
    """telemetry.raw as it grows: by device, how many messages, how many marked as repeats, the highest `seq`."""

    def __init__(self, bootstrap: str) -> None:
        self._tail = Tail(bootstrap, "telemetry.raw")
        self.messages: Counter[str] = Counter()
        self.marked_repeats: Counter[str] = Counter()
        self.highest_seq: dict[str, int] = {}

    def follow(self) -> None:
        """Take in what is new."""
        for message in self._tail.news():
            topic = ""
            for name, value in message.headers() or ():
                if name == "mqtt-topic":
                    topic = value.decode()
                elif name == "mqtt-dup" and value == b"1":
                    self.marked_repeats[_device(topic)] += 1
            device = _device(topic)
            self.messages[device] += 1
            if found := _SEQ.search(message.value() or b""):
                self.highest_seq[device] = max(int(found[1]), self.highest_seq.get(device, -1))


def _device(mqtt_topic: str) -> str:
    parts = mqtt_topic.split("/")
    return parts[4] if len(parts) > 4 else ""


class Repeats:
    """A derived topic as it grows: records whose id was there before, by device key."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._tail = Tail(bootstrap, topic)
        self._seen: dict[str, set[bytes]] = defaultdict(set)
        self.by_key: Counter[str] = Counter()

    def follow(self) -> None:
        """Take in what is new."""
        for message in self._tail.news():
            key = (message.key() or b"").decode()
            found = _ID.search(message.value() or b"")
            if found is not None:
                if found[1] in self._seen[key]:
                    self.by_key[key] += 1
                self._seen[key].add(found[1])

    def forget(self, keys: set[str]) -> None:
        """These devices are silent for good."""
        for key in keys:
            self._seen.pop(key, None)


class StateTopic:
    """weir-stream-state as it grows: who wrote an older state after a newer one."""

    def __init__(self, bootstrap: str) -> None:
        self._tail = Tail(bootstrap, "weir-stream-state")
        self.applied: dict[tuple[int, bytes], int] = {}
        """Partition and key -> the highest applied offset that was written."""
        self.written: Counter[int] = Counter()
        """Partition -> device states written."""
        self.stale: Counter[int] = Counter()
        """Partition -> device states written after a newer one of the same key."""

    def follow(self) -> None:
        """Take in what is new."""
        for message in self._tail.news():
            key, value, partition = message.key() or b"", message.value(), message.partition() or 0
            if value is None or b"/" not in key or b"|" in key:
                continue
            applied = int.from_bytes(value[:_LEAD], "big", signed=True)
            place = (partition, key)
            self.written[partition] += 1
            if applied < self.applied.get(place, applied):
                self.stale[partition] += 1
            self.applied[place] = max(applied, self.applied.get(place, applied))


class Written:
    """A topic as it grows: how many records."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._tail = Tail(bootstrap, topic)
        self.records = 0

    def follow(self) -> int:
        """Take in what is new; returns how many records there are."""
        self.records += sum(1 for _ in self._tail.news())
        return self.records


class Lags:
    """How far each group is behind, from what it has committed."""

    GROUPS: Final = {
        "weir-stream": ("telemetry.raw",),
        "weir-alerts": ("telemetry.anomalies", "telemetry.aggregates"),
        "weir-sink": (
            "telemetry.clean",
            "telemetry.scores",
            "telemetry.aggregates",
            "telemetry.anomalies",
            "telemetry.gaps",
        ),
    }
    """Group -> what it reads; what the services say of themselves never ends, and is left out."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._partitions = range(partitions)

    def now(self) -> dict[str, int]:
        """Group -> records not committed. Raises KafkaException: Kafka is away."""
        return {group: self._of(group, topics) for group, topics in self.GROUPS.items()}

    def _of(self, group: str, topics: Iterable[str]) -> int:
        client = _client(self._bootstrap, group)
        try:
            places = [TopicPartition(topic, p) for topic in topics for p in self._partitions]
            lag = 0
            for at in client.committed(places, timeout=_ANSWER_S):
                low, end = _bounds(client, at.topic, at.partition)
                lag += max(0, end - max(low, at.offset))
            return lag
        finally:
            client.close()
