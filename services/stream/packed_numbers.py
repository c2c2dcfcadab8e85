"""Numbers in few bytes, without loss: what sensors tell has few decimals, and lies close together.

A list of numbers that are all whole multiples of a power of ten from 1 to 10^-6 becomes the least of these multiples
and, for each number, how far it lies above that, in as few bytes as the furthest needs (0, 1, 2 or 4). Any other list
is written as doubles. In front stands one byte that says which. What is read is what was written, to the bit, the sign
of zero included.
"""

import math
import struct
from typing import Final

_DOUBLES: Final = 0xFF
_MOST_DECIMALS: Final = 6
_SCALES: Final[tuple[float, ...]] = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
_LARGEST: Final = 2.0**53
"""Below this a double is the whole number that it looks like."""
_BASE_WIDTHS: Final[tuple[int, ...]] = (1, 2, 4, 8)
_STEP_WIDTHS: Final[tuple[int, ...]] = (0, 1, 2, 4)
_STEP_LETTERS: Final[tuple[str, ...]] = ("", "B", "H", "I")


def pack_numbers(numbers: list[float]) -> bytes:
    """At least one finite number; `unpack_numbers` gives them again."""
    decimals = 0
    multiples = _multiples(numbers, _SCALES[0])
    while multiples is None:
        decimals += 1
        if decimals > _MOST_DECIMALS:
            return _doubles(numbers)
        multiples = _multiples(numbers, _SCALES[decimals])
    base = highest = multiples[0]
    for multiple in multiples:
        if multiple < base:
            base = multiple
        elif multiple > highest:
            highest = multiple
    furthest = highest - base
    if furthest >= 0x1_0000_0000:
        return _doubles(numbers)
    step = 0 if furthest == 0 else 1 if furthest < 0x100 else 2 if furthest < 0x10000 else 3
    wide = 0 if -0x80 <= base < 0x80 else 1 if -0x8000 <= base < 0x8000 else 2 if -(2**31) <= base < 2**31 else 3
    head = bytes((decimals << 4 | wide << 2 | step,)) + base.to_bytes(_BASE_WIDTHS[wide], "little", signed=True)
    if step == 0:
        return head
    return head + struct.pack(f"<{len(numbers)}{_STEP_LETTERS[step]}", *[multiple - base for multiple in multiples])


def packed_length(packed: bytes, at: int, count: int) -> int:
    """Bytes that `count` numbers take, which begin `at` there. IndexError where there is nothing."""
    code = packed[at]
    if code == _DOUBLES:
        return 1 + 8 * count
    return 1 + _BASE_WIDTHS[code >> 2 & 3] + _STEP_WIDTHS[code & 3] * count


def unpack_numbers(packed: bytes, at: int, count: int) -> list[float]:
    """The `count` numbers that begin `at` there. Raises ValueError or `struct.error` where none were written."""
    code = packed[at]
    if code == _DOUBLES:
        return list(struct.unpack_from(f"<{count}d", packed, at + 1))
    decimals = code >> 4
    if decimals > _MOST_DECIMALS:
        raise ValueError(f"numbers of {decimals} decimals")
    scale = _SCALES[decimals]
    following = at + 1 + _BASE_WIDTHS[code >> 2 & 3]
    base = int.from_bytes(packed[at + 1 : following], "little", signed=True)
    if code & 3 == 0:
        return [base / scale] * count
    steps = struct.unpack_from(f"<{count}{_STEP_LETTERS[code & 3]}", packed, following)
    return [(base + step) / scale for step in steps]


def _doubles(numbers: list[float]) -> bytes:
    return b"\xff" + struct.pack(f"<{len(numbers)}d", *numbers)


def _multiples(numbers: list[float], scale: float) -> list[int] | None:
    """What these numbers are in parts of `scale`, if they are whole multiples of such a part."""
    multiples: list[int] = []
    for number in numbers:
        scaled = number * scale
        if not -_LARGEST < scaled < _LARGEST:
            return None
        multiple = int(scaled - 0.5) if scaled < 0.0 else int(scaled + 0.5)
        if multiple / scale != number or (multiple == 0 and math.copysign(1.0, number) < 0.0):
            return None
        multiples.append(multiple)
    return multiples


def put_count(into: bytearray, count: int) -> None:
    """Add a whole number from 0 on, seven bits a byte, the lowest first."""
    while count >= 0x80:
        into.append(count & 0x7F | 0x80)
        count >>= 7
    into.append(count)


class Reader:
    """Reads counts off bytes. IndexError where they end too soon."""

    __slots__ = ("at", "packed")

    def __init__(self, packed: bytes, at: int = 0) -> None:
        self.packed = packed
        self.at = at

    def count(self) -> int:
        """The next count."""
        packed = self.packed
        at = self.at
        byte = packed[at]
        at += 1
        count = byte & 0x7F
        shift = 7
        while byte >= 0x80:
            byte = packed[at]
            at += 1
            count |= (byte & 0x7F) << shift
            shift += 7
        self.at = at
        return count

    def take(self, length: int) -> bytes:
        """The next bytes. ValueError where there are fewer."""
        at = self.at
        taken = self.packed[at : at + length]
        if len(taken) != length:
            raise ValueError(f"{length} bytes announced, {len(taken)} there")
        self.at = at + length
        return taken
