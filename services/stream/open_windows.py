"""Open windows as a device's snapshot has them. In a module of its own, as a Struct like this must not be compiled."""

from typing import Final

import msgspec


class Waiting(msgspec.Struct, array_like=True):
    """Rows that open windows share: of which sensors, how many, and packed; and which of them each page has."""

    sensors: tuple[int, ...]
    count: int
    packed: bytes
    spans: list[tuple[int, int, int, int, int, int]]


class OpenWindows(msgspec.Struct, array_like=True):
    """The device's sensors by number; of each open window width, start and page; and what waits for these pages."""

    names: tuple[str, ...]
    pages: list[tuple[int, int, bytes]]
    waiting: Waiting | None = None


FirstForm = list[tuple[int, int, dict[str, bytes]]]
"""The same as 0.1.0 wrote it: width, start, and each sensor's window packed."""

write_open: Final = msgspec.msgpack.Encoder().encode
read_open: Final = msgspec.msgpack.Decoder(OpenWindows).decode
