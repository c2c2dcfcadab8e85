"""What a device publishes, and its bytes."""

import json
from collections.abc import Mapping
from typing import NamedTuple

Value = float | str | None


class Message(NamedTuple):
    """Readings taken at `event_us` by the device's own clock; they leave it at `due_us`. Both unix µs."""

    due_us: int
    event_us: int
    seq: int
    values: Mapping[str, Value]


class Publication(NamedTuple):
    """One MQTT publish: a message, or an array of them where a device uploads what it has stored."""

    messages: tuple[Message, ...]
    array: bool = False

    @property
    def readings(self) -> int:
        """Values in it."""
        return sum(len(m.values) for m in self.messages)


def encode(publication: Publication) -> bytes:
    """The payload, `{"ts": <unix ms>, "seq": n, "values": {...}}` or an array of these.

    NaN is written as the token `NaN`, which is not JSON: careless firmware does so.
    """
    parts = [{"ts": m.event_us // 1000, "seq": m.seq, "values": m.values} for m in publication.messages]
    return json.dumps(parts if publication.array else parts[0], separators=(",", ":")).encode()
