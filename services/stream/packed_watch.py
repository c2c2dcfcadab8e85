"""What a device's drift is watched by, as the bytes that its snapshot has of it: it is looked at once a minute.

From then to the next checkpoint it is an object, which is four times as large.
"""

from typing import Final

import msgspec

from services.scoring.drift.device_watch import DeviceWatch, HourMean


class _Due(msgspec.Struct, array_like=True):
    """The beginning of a `DeviceWatch`."""

    due_us: int


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(DeviceWatch).decode
_decode_due: Final = msgspec.msgpack.Decoder(_Due).decode

NOTHING_SEEN: Final = _encode(DeviceWatch())


def check(packed: bytes | msgspec.Raw) -> None:
    """Raise ValueError where this is no `DeviceWatch`."""
    _decode(packed)


class PackedWatch:
    """A `DeviceWatch`; see the module."""

    __slots__ = ("_packed", "_watch", "due_us")

    def __init__(self, packed: bytes = NOTHING_SEEN) -> None:
        self._packed = packed
        self._watch: DeviceWatch | None = None
        self.due_us = _decode_due(packed).due_us
        """Before this event time nothing is to be looked at."""

    def look(self, event_us: int, values: dict[str, float], score: float) -> list[HourMean]:
        """See `DeviceWatch.look`."""
        watch = self._unpacked()
        over = watch.look(event_us, values, score)
        self.due_us = watch.due_us
        return over

    def forget(self, sensor: str | None) -> None:
        """See `DeviceWatch.forget`."""
        self._unpacked().forget(sensor)

    def pack(self) -> bytes:
        """All of it in bytes."""
        if self._watch is not None:
            self._packed = _encode(self._watch)
            self._watch = None
        return self._packed

    def _unpacked(self) -> DeviceWatch:
        if self._watch is None:
            self._watch = _decode(self._packed)
        return self._watch
