"""Equality: what the workers made of the log, through all faults, against one plain pass of the pure core over it.

The pass goes on from row to row, as the partitions do. Compared are, for the devices of a row: each derived record by
its id, byte for byte (repeats too), and each device's state on the state topic.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from services.runtime.routes import load_routes
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline
from tests.faults.drill.log_view import Tail

DERIVED: Final = (
    "telemetry.clean",
    "telemetry.scores",
    "telemetry.aggregates",
    "telemetry.anomalies",
    "telemetry.model-events",
    "telemetry.gaps",
    "telemetry.dead-letter",
)
_LEAD: Final = 8
_encode = msgspec.json.Encoder().encode


class _Id(msgspec.Struct):
    id: str
    provisional: bool = False
    stage: str = ""


_id = msgspec.json.Decoder(_Id).decode

Records = dict[str, dict[str, bytes]]
"""Topic -> id -> value."""


class Equality:
    """Follows raw, derived and state topics; see the module."""

    def __init__(self, bootstrap: str) -> None:
        self._raw = Tail(bootstrap, "telemetry.raw")
        self._derived = {topic: Tail(bootstrap, topic) for topic in DERIVED}
        self._states = Tail(bootstrap, "weir-stream-state")
        self._routes, self._types = load_routes(None), load_device_types(None)
        self._pipelines: dict[int, PartitionPipeline] = {}
        self._expected: dict[bytes, Records] = defaultdict(lambda: defaultdict(dict))
        self._got: dict[bytes, Records] = defaultdict(lambda: defaultdict(dict))
        self._unlike: dict[bytes, list[str]] = defaultdict(list)
        self._expected_state: dict[bytes, bytes] = {}
        self._state: dict[bytes, bytes] = {}

    def follow(self) -> None:
        """Take in what is new on all topics, and let the plain pass go on."""
        for topic, tail in self._derived.items():
            for message in tail.news():
                self._take(topic, message.key() or b"", message.value() or b"")
        for message in self._states.news():
            key, value = message.key() or b"", message.value()
            # The highest applied offset, which leads the value, wins: a frozen worker may have written late.
            if value is not None and value[:_LEAD] >= self._state.get(key, b"")[:_LEAD]:
                self._state[key] = value
        raw: dict[int, list[RawRecord]] = defaultdict(list)
        for message in self._raw.news():
            headers = dict(message.headers() or ())
            record = RawRecord(message.offset() or 0, message.key() or b"", message.value() or b"", headers)
            raw[message.partition() or 0].append(record)
        for partition, records in raw.items():
            self._pass(partition, records)

    def differences(self, keys: Iterable[bytes]) -> list[str]:
        """What is not as in the plain pass, for these devices; empty: all is equal. They are forgotten thereafter."""
        found: list[str] = []
        for key in keys:
            expected, got = self._expected.pop(key, {}), self._got.pop(key, {})
            found += self._unlike.pop(key, [])
            if not expected:
                found.append(f"nothing of {key.decode()} is in the log: there is nothing to compare")
            for topic in DERIVED:
                want, have = expected.get(topic, {}), got.get(topic, {})
                found += [f"{topic}: {i} is missing" for i in want.keys() - have.keys()]
                found += [f"{topic}: {i} is not in the plain pass" for i in have.keys() - want.keys()]
                found += [f"{topic}: {i} has other bytes" for i in want.keys() & have.keys() if want[i] != have[i]]
            if self._expected_state.pop(key, None) != self._state.pop(key, None):
                found.append(f"the state of {key.decode()} is another one")
        return sorted(found)

    def _take(self, topic: str, key: bytes, value: bytes) -> None:
        record = _id(value)
        if record.provisional or record.stage == "sink":
            return
        if self._got[key][topic].setdefault(record.id, value) != value:
            self._unlike[key].append(f"{topic}: a repeat of {record.id} differs")

    def _pass(self, partition: int, records: list[RawRecord]) -> None:
        pipeline = self._pipelines.get(partition)
        if pipeline is None:
            pipeline = self._pipelines[partition] = PartitionPipeline(partition, self._routes, self._types)
        for topic, key, record in pipeline.process(records):
            if topic in self._derived:
                value = _encode(record)
                self._expected[key][topic][_id(value).id] = value
        self._expected_state |= {key: value for key, value in pipeline.take_changes() if b"|" not in key}
        pipeline.take_expired()
