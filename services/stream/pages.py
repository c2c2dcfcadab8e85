"""Pages: one window of all of a device's sensors in one piece of bytes; and a shelf of them, in the order of time.

On a page a sensor is a number: its place in the order in which the device first told of its sensors. Sensors one after
the other whose windows have the same head share it. On the state topic (`write_page`) a page brings the names along.
"""

import struct
import zlib
from typing import Final, NamedTuple

import msgspec

from services.stream.packed_numbers import Reader, put_count
from services.stream.window import PackedWindow, block_length, pack_window, unpack_first_form

PageId = tuple[int, int]
"""(width, start), µs."""
Parts = dict[int, PackedWindow]
"""A page's windows by their sensors' numbers, in the order in which the sensors came."""

_FORM: Final = b"\x02"
"""Of a page on the state topic. 0.1.0 wrote a msgpack map, which begins with 0x80 or more."""
_LEAST_OF_MAPS: Final = 0x80
_DIGEST: Final = 4


def join(parts: Parts) -> bytes:
    """A page of these windows."""
    page = bytearray()
    numbers = list(parts)
    at = 0
    while at < len(numbers):
        head = parts[numbers[at]].head
        end = at + 1
        while end < len(numbers) and parts[numbers[end]].head == head:
            end += 1
        page.append(len(head))
        page += head
        in_order = numbers[at] == 0 and numbers[end - 1] == end - at - 1 and _rises_by_one(numbers, at, end)
        put_count(page, (end - at) << 1 | in_order)
        if not in_order:
            for index in range(at, end):
                put_count(page, numbers[index])
        for index in range(at, end):
            page += parts[numbers[index]].block
        at = end
    return bytes(page)


def split(page: bytes) -> Parts:
    """The windows of a page. Raises ValueError or IndexError where it is none."""
    parts: Parts = {}
    reader = Reader(page)
    while reader.at < len(page):
        head = reader.take(reader.take(1)[0])
        told = reader.count()
        numbers = list(range(told >> 1)) if told & 1 else [reader.count() for _ in range(told >> 1)]
        for number in numbers:
            parts[number] = PackedWindow(head, reader.take(block_length(head, page, reader.at)))
    return parts


def _rises_by_one(numbers: list[int], at: int, end: int) -> bool:
    return all(numbers[index] == index - at for index in range(at, end))


class Page(NamedTuple):
    """A page as the state topic has it. `applied`: offset of the last record that changed it; `written`: with names."""

    applied: int
    written: bytes

    def check(self) -> None:
        """Raise ValueError where this is no page."""
        written = self.written
        if written[:1] == _FORM:
            digest = written[1 : 1 + _DIGEST]
            if len(digest) < _DIGEST or zlib.crc32(written[1 + _DIGEST :]) != int.from_bytes(digest, "little"):
                raise ValueError("a page whose checksum does not fit")
        elif not written or written[0] < _LEAST_OF_MAPS:
            raise ValueError("no page of a form known here")
        else:
            _decode_first_form(written)


_decode_first_form = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def write_page(page: bytes, names: tuple[str, ...]) -> bytes:
    """A page as it goes to the state topic; `names` of all the device's sensors by number."""
    numbers = list(split(page))
    body = bytearray()
    put_count(body, len(numbers))
    for number in numbers:
        name = names[number].encode()
        put_count(body, number)
        put_count(body, len(name))
        body += name
    body += page
    return _FORM + zlib.crc32(body).to_bytes(_DIGEST, "little") + bytes(body)


def read_page(written: bytes, start_us: int) -> tuple[dict[str, int], bytes]:
    """A checked page, and the numbers that its sensors have on it."""
    if written[:1] != _FORM:
        by_name = _decode_first_form(written)
        numbers = {name: number for number, name in enumerate(by_name)}
        parts = {numbers[name]: pack_window(unpack_first_form(old), start_us) for name, old in by_name.items()}
        return numbers, join(parts)
    reader = Reader(written, 1 + _DIGEST)
    numbers = {}
    for _ in range(reader.count()):
        number = reader.count()
        numbers[reader.take(reader.count()).decode()] = number
    return numbers, written[reader.at :]


_RECORD: Final = struct.Struct("<II")
"""Number of the window since 1970, and length of its page."""


class Shelf:
    """Pages of one width, the oldest first, in one piece of memory: a device has 78 of them, and most are small."""

    __slots__ = ("_newest", "packed", "width_us")

    def __init__(self, width_us: int) -> None:
        self.width_us = width_us
        self.packed = b""
        self._newest = -1
        """Number since 1970 of the newest window that was ever put here."""

    def starts(self) -> list[int]:
        """Where the pages' windows begin, in order."""
        found: list[int] = []
        at = 0
        while at < len(self.packed):
            turn, length = _RECORD.unpack_from(self.packed, at)
            found.append(turn * self.width_us)
            at += _RECORD.size + length
        return found

    def oldest_us(self) -> int | None:
        """Where the oldest page's window begins."""
        return _RECORD.unpack_from(self.packed)[0] * self.width_us if self.packed else None

    def get(self, start_us: int) -> bytes | None:
        """The page of the window that begins there."""
        at, length = self._find(start_us)
        return None if length < 0 else self.packed[at + _RECORD.size : at + _RECORD.size + length]

    def put(self, start_us: int, page: bytes) -> None:
        """Keep a page, in the place of the one that was there."""
        turn = start_us // self.width_us
        if turn > self._newest:
            self._newest = turn
            self.packed += _RECORD.pack(turn, len(page)) + page
            return
        at, length = self._find(start_us)
        end = at if length < 0 else at + _RECORD.size + length
        self.packed = self.packed[:at] + _RECORD.pack(turn, len(page)) + page + self.packed[end:]

    def drop_oldest(self) -> None:
        """Forget the oldest page."""
        self.packed = self.packed[_RECORD.size + _RECORD.unpack_from(self.packed)[1] :]

    def _find(self, start_us: int) -> tuple[int, int]:
        """Where the page's record is, or would be, and the page's length; -1: it is not there."""
        packed = self.packed
        wanted = start_us // self.width_us
        at, end = 0, len(packed)
        while at < end:
            turn, length = _RECORD.unpack_from(packed, at)
            if turn >= wanted:
                return at, length if turn == wanted else -1
            at += _RECORD.size + length
        return at, -1
