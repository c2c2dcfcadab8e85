"""The latest moments of a device that its open windows are still made of: each once, for all three widths.

A moment is written as: which widths it counts for (bit 0: the shortest), how many sensors told something, its event
time, the sensors' numbers unless these are 0, 1, 2 ..., and their values. Its order is that of the log.
"""

import struct
from itertools import pairwise
from typing import Final, NamedTuple

from services.stream.packed_numbers import Reader, pack_numbers, packed_length, put_count, unpack_numbers

_HEAD: Final = struct.Struct("<BHq")
_KIND: Final = 3
"""Bytes of the head that tell its widths and how many sensors."""
_TOLD: Final = 0x8000
"""In the place of the sensors' count: their numbers stand before the values."""


class Moment(NamedTuple):
    """What a device told of one moment; `numbers` None: those of its first sensors, in order."""

    event_us: int
    numbers: tuple[int, ...] | None
    values: tuple[float, ...]


def put_moment(log: bytearray, widths: int, moment: Moment) -> None:
    """Add a moment at the end; at most 32,767 sensors."""
    event_us, numbers, values = moment
    count = len(values)
    if numbers is None:
        log += _layout(count)[0].pack(widths, count, event_us, *values)
    else:
        log += _HEAD.pack(widths, count | _TOLD, event_us)
        log += struct.pack(f"<{count}H{count}d", *numbers, *values)


def moment_at(log: bytearray, at: int) -> Moment:
    """The moment there."""
    _, told, event_us = _HEAD.unpack_from(log, at)
    at += _HEAD.size
    if not told & _TOLD:
        return Moment(event_us, None, _layout(told)[1].unpack_from(log, at))
    count = told & ~_TOLD
    told_of = struct.unpack_from(f"<{count}H{count}d", log, at)
    return Moment(event_us, told_of[:count], told_of[count:])


def following(log: bytearray, at: int) -> int:
    """Where the moment there ends."""
    told: int = _HEAD.unpack_from(log, at)[1]
    return at + _HEAD.size + (10 * (told & ~_TOLD) if told & _TOLD else 8 * told)


class Head(NamedTuple):
    """Where a moment is in the log, how its values stand there, its widths and its event time."""

    at: int
    told: int
    widths: int
    event_us: int


def heads(log: bytearray, at: int = 0) -> list[Head]:
    """The moments from there on."""
    found: list[Head] = []
    end = len(log)
    while at < end:
        widths, told, event_us = _HEAD.unpack_from(log, at)
        found.append(Head(at, told, widths, event_us))
        at += _HEAD.size + (10 * (told & ~_TOLD) if told & _TOLD else 8 * told)
    return found


Column = tuple[list[int], list[float]]
"""A sensor's times and values, in the order of the log."""


def by_sensor(log: bytearray, moments: list[Head]) -> dict[int, Column]:
    """These moments' columns, in the order in which the sensors first came."""
    times = [head.event_us for head in moments]
    told = moments[0].told
    if not told & _TOLD and [head.told for head in moments].count(told) == len(moments):
        unpack = _layout(told)[1].unpack_from
        columns = zip(*[unpack(log, head.at + _HEAD.size) for head in moments], strict=True)
        return {number: (times, list(values)) for number, values in enumerate(columns)}
    found: dict[int, Column] = {}
    for head in moments:
        event_us, numbers, values = moment_at(log, head.at)
        for number, value in zip(range(len(values)) if numbers is None else numbers, values, strict=True):
            column = found.get(number)
            if column is None:
                column = found[number] = ([], [])
            column[0].append(event_us)
            column[1].append(value)
    return found


# ------------------------------------------------------------------------------------------------- in a snapshot


def pack_moments(log: bytearray) -> bytes:
    """The log in fewer bytes: moments that are alike but for their times and values go together, column by column."""
    packed = bytearray()
    at = 0
    while at < len(log):
        at = _pack_alike(packed, log, at)
    return bytes(packed)


def _pack_alike(packed: bytearray, log: bytearray, at: int) -> int:
    """Pack the moments that are like the one there; returns where they end."""
    widths, told, first_us = _HEAD.unpack_from(log, at)
    count = told & ~_TOLD
    kind = bytes(log[at : at + _KIND])
    numbers: tuple[int, ...] = ()
    sized = _layout(count)[0]
    if told & _TOLD:
        numbers = struct.unpack_from(f"<{count}H", log, at + _HEAD.size)
        sized = struct.Struct(f"<BHq{2 * count}x{count}d")
    end = at
    while log[end : end + _KIND] == kind:
        if numbers and struct.unpack_from(f"<{count}H", log, end + _HEAD.size) != numbers:
            break
        end += sized.size
    columns = list(zip(*sized.iter_unpack(log[at:end]), strict=True))
    times = columns[2]
    put_count(packed, len(times))
    put_count(packed, widths)
    put_count(packed, count << 1 | (not numbers))
    for number in numbers:
        put_count(packed, number)
    put_count(packed, first_us)
    if len(times) > 1:
        packed += pack_numbers([float(later - earlier) for earlier, later in pairwise(times)])
    for values in columns[3:]:
        packed += pack_numbers(list(values))
    return end


def unpack_moments(packed: bytes) -> tuple[bytearray, int]:
    """The log again, and how many moments it holds. Raises ValueError, IndexError, OverflowError or `struct.error`."""
    log = bytearray()
    held = 0
    reader = Reader(packed)
    while reader.at < len(packed):
        count = reader.count()
        widths = reader.count()
        sensors = reader.count()
        numbers = None if sensors & 1 else tuple(reader.count() for _ in range(sensors >> 1))
        event_us = reader.count()
        times = [event_us]
        for step in _column(reader, count - 1):
            event_us += int(step)
            times.append(event_us)
        rows = zip(*[_column(reader, count) for _ in range(sensors >> 1)], strict=True)
        for moment_us, values in zip(times, rows, strict=True):
            put_moment(log, widths, Moment(moment_us, numbers, values))
        held += count
    return log, held


def _column(reader: Reader, count: int) -> list[float]:
    if count == 0:
        return []
    numbers = unpack_numbers(reader.packed, reader.at, count)
    reader.at += packed_length(reader.packed, reader.at, count)
    return numbers


_layouts: list[tuple[struct.Struct, struct.Struct]] = []
"""By number of values: of a whole moment whose sensors are in order, and of its values."""


def _layout(count: int) -> tuple[struct.Struct, struct.Struct]:
    while len(_layouts) <= count:
        values = len(_layouts)
        _layouts.append((struct.Struct(f"<BHq{values}d"), struct.Struct(f"<{values}d")))
    return _layouts[count]
