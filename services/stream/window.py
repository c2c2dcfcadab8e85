"""One sensor's readings in one window: moments, extremes, ends, quantiles; and how few bytes that takes.

Up to 64 readings a window is exactly its values in the order in which they came, as all else follows from these by
the same steps; beyond, it is the moments and the sketch. Packed, a window is a head, which the sensors of a device
that told of them together have in common, and a block of its own numbers.
"""

import math
import struct
from array import array
from typing import Final, NamedTuple

from services.stream.packed_numbers import Reader, pack_numbers, packed_length, put_count, unpack_numbers
from services.stream.quantiles import BUFFER, Quantiles

_OTHER_FIRST: Final = 1
_OTHER_LAST: Final = 2
"""The first (the last) reading by event time is not the first (the last) that came."""
_MOMENTS: Final = struct.Struct("<dd")
_ENDS: Final = 4
"""low, high, first, last: in front of a sketch's values."""


class Window:
    """Moments, extremes, ends and quantiles of one sensor in one window. Mean and variance by Welford's recurrence."""

    __slots__ = ("count", "first", "first_us", "high", "last", "last_us", "low", "m2", "mean", "quantiles", "revision")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.m2 = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.first = 0.0
        self.first_us = 0
        self.last = 0.0
        self.last_us = 0
        self.quantiles = Quantiles()
        self.revision = 0

    def add(self, event_us: int, value: float) -> None:
        """Take one reading."""
        self.take(event_us, value, event_us, value, array("d", (value,)))

    def take(self, earliest_us: int, earliest: float, latest_us: int, latest: float, values: "array[float]") -> None:
        """Take readings (one or more) in the order in which they came; the first and the last of them by event time."""
        if self.count == 0 or earliest_us < self.first_us:
            self.first_us = earliest_us
            self.first = earliest
        if self.count == 0 or latest_us >= self.last_us:
            self.last_us = latest_us
            self.last = latest
        self._measure(values)
        self.quantiles.take(values)

    def _measure(self, values: "array[float]") -> None:
        count = self.count
        mean, m2 = self.mean, self.m2
        low, high = self.low, self.high
        for value in values.tolist():
            count += 1
            delta = value - mean
            mean = mean + delta / count
            m2 += delta * (value - mean)
            if value < low:
                low = value
            if value > high:
                high = value
        self.count = count
        self.mean, self.m2 = mean, m2
        self.low, self.high = low, high

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); 0.0 when n = 1."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0


class PackedWindow(NamedTuple):
    """A window in bytes; see the module."""

    head: bytes
    block: bytes


def pack_window(window: Window, start_us: int) -> PackedWindow:
    """A window that holds a reading, and begins at `start_us`; `unpack_window` gives an equal one."""
    head = bytearray()
    count = window.count
    put_count(head, count)
    levels = window.quantiles.levels
    values = levels[0].tolist()
    other = 0
    if count <= BUFFER:
        if not _same(window.first, values[0]):
            other = _OTHER_FIRST
            values.append(window.first)
        if not _same(window.last, values[count - 1]):
            other |= _OTHER_LAST
            values.append(window.last)
    put_count(head, window.revision << 2 | other)
    put_count(head, window.first_us - start_us)
    if count > 1:
        put_count(head, window.last_us - window.first_us)
    if count <= BUFFER:
        return PackedWindow(bytes(head), pack_numbers(values))
    put_count(head, window.quantiles.turns)
    put_count(head, len(levels))
    numbers = [window.low, window.high, window.first, window.last]
    for level in levels:
        put_count(head, len(level))
        numbers += level
    return PackedWindow(bytes(head), _MOMENTS.pack(window.mean, window.m2) + pack_numbers(numbers))


def unpack_window(packed: PackedWindow, start_us: int) -> Window:
    """The window that was packed. Raises ValueError, IndexError or `struct.error` where it was none."""
    reader = Reader(packed.head)
    block = packed.block
    count = reader.count()
    if count == 0:
        raise ValueError("a window without readings")
    told = reader.count()
    window = Window()
    first_us = start_us + reader.count()
    last_us = first_us + reader.count() if count > 1 else first_us
    if count <= BUFFER:
        others = (told & _OTHER_FIRST) + (told >> 1 & 1)
        values = unpack_numbers(block, 0, count + others)
        last = values[-1] if told & _OTHER_LAST else values[count - 1]
        first = values[count] if told & _OTHER_FIRST else values[0]
        kept = array("d", values[:count])
        window._measure(kept)  # noqa: SLF001 - its own module
        window.quantiles.levels[0] = kept
        window.first, window.last = first, last
    else:
        window.count = count
        window.mean, window.m2 = _MOMENTS.unpack_from(block)
        turns = reader.count()
        lengths = [reader.count() for _ in range(reader.count())]
        numbers = unpack_numbers(block, _MOMENTS.size, _ENDS + sum(lengths))
        window.low, window.high, window.first, window.last = numbers[:_ENDS]
        levels = []
        at = _ENDS
        for length in lengths:
            levels.append(array("d", numbers[at : at + length]))
            at += length
        window.quantiles = Quantiles(levels, turns)
    window.first_us, window.last_us = first_us, last_us
    window.revision = told >> 2
    return window


def block_length(head: bytes, packed: bytes, at: int) -> int:
    """Bytes of a block that begins `at` there and belongs to that head."""
    reader = Reader(head)
    count = reader.count()
    told = reader.count()
    if count <= BUFFER:
        return packed_length(packed, at, count + (told & _OTHER_FIRST) + (told >> 1 & 1))
    for _ in range(3):
        reader.count()
    lengths = [reader.count() for _ in range(reader.count())]
    return _MOMENTS.size + packed_length(packed, at + _MOMENTS.size, _ENDS + sum(lengths))


def _same(one: float, other: float) -> bool:
    return one == other and (one != 0.0 or math.copysign(1.0, one) == math.copysign(1.0, other))


# ------------------------------------------------------------------------------------------ as 0.1.0 wrote it

_NUMBERS: Final = struct.Struct("<Q6dqqI")


def unpack_first_form(packed: bytes) -> Window:
    """A window as Weir 0.1.0 packed it. Raises `struct.error` where it was none."""
    window = Window()
    (
        window.count,
        window.mean,
        window.m2,
        window.low,
        window.high,
        window.first,
        window.last,
        window.first_us,
        window.last_us,
        window.revision,
    ) = _NUMBERS.unpack_from(packed)
    at = _NUMBERS.size
    turns, depth = struct.unpack_from("<QB", packed, at)
    at += 9
    lengths = struct.unpack_from(f"<{depth}B", packed, at)
    at += depth
    levels = []
    for length in lengths:
        levels.append(array("d", struct.unpack_from(f"<{length}d", packed, at)))
        at += 8 * length
    window.quantiles = Quantiles(levels, turns)
    return window
