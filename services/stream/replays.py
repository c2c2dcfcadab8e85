"""A dead letter that a person sent again: which of its message's readings are let through, each of them once. Pure.

The message stands in the log a second time. Readings that were good the first time went through then; only those that
the replay names are new. What was let through is remembered among the device's last payloads, so that a dead letter
replayed twice gives no reading twice.
"""

import re
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from schemas import raw
from services.stream.decoders import Element
from services.stream.redelivery import RecentPayloads

_LETTER: Final = re.compile(rb"[0-9]{1,10}:[0-9]{1,19}:[0-9]{1,9}")
_READINGS: Final = re.compile(rb"[0-9]{1,9}(,[0-9]{1,9}){0,9999}")


class Replay(NamedTuple):
    """What one record of telemetry.raw repeats. `readings` are indexes within the message; None: all of it.

    `message` tells this message from every other, through any number of replays: its bytes, and when it first came.
    """

    readings: frozenset[int] | None
    message: bytes

    def fresh(self, element: Element, index: int, sensors: list[str], known: RecentPayloads) -> Element | None:
        """What of an element is to be judged now; None: nothing. `index` is that of the first of its `sensors`."""
        named = {sensor: index + rank for rank, sensor in enumerate(sensors) if self._names(index + rank)}
        if element.broken is not None:
            return element if named else None
        fresh = {sensor for sensor, at in named.items() if not known.knows(self._identity(at))}
        if not fresh:
            return None if sensors or self.readings is not None else element
        return msgspec.structs.replace(
            element,
            values={sensor: value for sensor, value in element.values.items() if sensor in fresh},
            odd={sensor: value for sensor, value in (element.odd or {}).items() if sensor in fresh} or None,
        )

    def remember(self, indexes: list[int], known: RecentPayloads) -> None:
        """These readings went through."""
        for index in indexes:
            known.see(self._identity(index))

    def _names(self, index: int) -> bool:
        return self.readings is None or index in self.readings

    def _identity(self, index: int) -> bytes:
        return b"replay %b %d" % (self.message, index)


def replay_of(headers: dict[str, bytes], received_us: int, payload: bytes) -> Replay | None:
    """The replay that a raw record is; None where it is a device's own message, or does not say it properly."""
    if raw.REPLAY_OF not in headers or _LETTER.fullmatch(headers[raw.REPLAY_OF] or b"") is None:
        return None
    told = headers.get(raw.REPLAY_READINGS)
    if told is None:
        readings = None
    elif _READINGS.fullmatch(told):
        readings = frozenset(map(int, told.split(b",")))
    else:
        return None
    return Replay(readings, blake2b(b"%d " % received_us + payload, digest_size=16).digest())
