"""Weir's topics, read once and remembered: each call goes on from where the last one ended."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tests.faults.drill.evidence import Entry, Evidence, RawMessage
from tests.faults.drill.workload import TENANT

_KEY: Final = f"{TENANT}/".encode()
_AT_ONCE: Final = 10_000


class _Clean(msgspec.Struct):
    id: str
    seq: int | None
    event_us: int


class _Score(msgspec.Struct):
    id: str
    seq: int | None
    event_us: int
    score: float
    alarm_score: float


_decode = msgspec.json.decode
_decode_clean = msgspec.json.Decoder(_Clean).decode
_decode_score = msgspec.json.Decoder(_Score).decode


def raw_of(message: Message) -> RawMessage:
    """A record of telemetry.raw."""
    headers: dict[str, Any] = dict(message.headers() or ())
    return RawMessage(message.value() or b"", int(headers["received-at"]))


def clean_of(value: bytes) -> Entry:
    """A record of telemetry.clean, as far as it is needed: there are many."""
    clean = _decode_clean(value)
    return Entry(clean.id, hash(value), {"seq": clean.seq, "event_us": clean.event_us})


def score_of(value: bytes) -> Entry:
    """A record of telemetry.scores, likewise."""
    score = _decode_score(value)
    return Entry(score.id, hash(value), {name: getattr(score, name) for name in _Score.__struct_fields__[1:]})


def entry_of(value: bytes) -> Entry:
    """Any other record, whole."""
    fields = _decode(value)
    return Entry(fields["id"], hash(value), fields)


TOPICS: Final[dict[str, tuple[str, Callable[[bytes], Entry] | None]]] = {
    "telemetry.raw": ("raw", None),
    "telemetry.clean": ("clean", clean_of),
    "telemetry.scores": ("scores", score_of),
    "telemetry.aggregates": ("aggregates", entry_of),
    "telemetry.anomalies": ("anomalies", entry_of),
    "telemetry.gaps": ("gaps", entry_of),
    "telemetry.dead-letter": ("dead_letters", entry_of),
    "alerts.events": ("alarms", entry_of),
}
"""Topic -> where its records stand in `Evidence`, and how they are read."""


class KafkaLog:
    """What the drill's tenant has on the topics."""

    def __init__(self, bootstrap: str, topic_prefix: str = "") -> None:
        """Nothing is read before `read`."""
        self._bootstrap = bootstrap
        self._prefix = topic_prefix
        self._next: dict[tuple[str, int], int] = {}
        self._known: dict[str, dict[str, list[Any]]] = {name: defaultdict(list) for name in TOPICS}

    def read(self, deadline_s: float = 60.0) -> int:
        """Catch up with the end of every topic; returns how many records were new.

        With a new client each time: an old one may refuse for minutes after Kafka was killed.
        Raises `TimeoutError`, and `KafkaException` where Kafka does not answer.
        """
        deadline = time.monotonic() + deadline_s
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "drill-oracle",
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",
            }
        )
        try:
            return self._read(consumer, deadline)
        finally:
            consumer.close()

    def fill(self, evidence: Evidence, device_ids: Collection[str]) -> None:
        """Put what is known of these devices into the evidence."""
        for topic, (name, _) in TOPICS.items():
            known = self._known[topic]
            setattr(evidence, name, {device: list(known[device]) for device in device_ids if device in known})

    def forget(self, device_ids: Iterable[str]) -> None:
        """Drop what is remembered of these devices: their row is judged for good."""
        for device in device_ids:
            for known in self._known.values():
                known.pop(device, None)

    def _read(self, consumer: Consumer, deadline: float) -> int:
        ends = self._ends(consumer)
        behind = [at for at in ends if self._next.get(at, 0) < ends[at]]
        consumer.assign([TopicPartition(topic, p, self._next.get((topic, p), 0)) for topic, p in behind])
        new = 0
        while left := [at for at in behind if self._next.get(at, 0) < ends[at]]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not read to the end in time: {left}")
            for message in consumer.consume(_AT_ONCE, 0.5):
                if message.error() is None:
                    self._take(message)
                    new += 1
            for at in consumer.position([TopicPartition(topic, p) for topic, p in left]):
                # Also over offsets that hold no record for us, as after a hole in the log.
                if at.offset >= 0:
                    self._next[at.topic, at.partition] = at.offset
        return new

    def _ends(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        there = consumer.list_topics(timeout=30).topics
        ends = {}
        for name in TOPICS:
            topic = self._prefix + name
            if topic not in there:
                continue
            for partition in there[topic].partitions:
                bounds = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
                if bounds is None:
                    raise KafkaException(f"no bounds of {topic}/{partition}")
                low, end = bounds
                ends[topic, partition] = end
                self._next[topic, partition] = max(low, self._next.get((topic, partition), 0))
        return ends

    def _take(self, message: Message) -> None:
        key = message.key() or b""
        if not key.startswith(_KEY):
            return
        topic = (message.topic() or "").removeprefix(self._prefix)
        read = TOPICS[topic][1]
        record = raw_of(message) if read is None else read(message.value() or b"")
        self._known[topic][key[len(_KEY) :].decode()].append(record)
