"""Moments of a device that wait for its open windows to close: each of them once, however many windows it lies in.

Rows of values, one a moment, all of the same sensors. What a checkpoint found is packed by eights, column by column;
the following rows are plain. Which rows there are depends on the log alone, when they are packed changes nothing.
"""

from array import array
from typing import Final

from services.stream.packed_numbers import pack_numbers, packed_length, unpack_numbers

MOST_ROWS: Final = 64
"""A window of no more readings is its values anyway: rows hold them in less memory."""
_GROUP: Final = 8


class Rows:
    """See the module. A row has a number, from 0 on; `drop` counts anew."""

    __slots__ = ("_packed", "_packed_rows", "_tail", "count", "sensors")

    def __init__(self) -> None:
        self.sensors: tuple[int, ...] = ()
        """Those that the rows tell of, by number."""
        self.count = 0
        self._packed = b""
        self._packed_rows = 0
        self._tail = array("d")

    def begin(self, sensors: tuple[int, ...]) -> None:
        """Forget all rows; the next ones are of these sensors."""
        self.sensors = sensors
        self.count = self._packed_rows = 0
        self._packed = b""
        self._tail = array("d")

    def add(self, values: dict[str, float]) -> None:
        """One moment more; its values in the order of `sensors`."""
        self._tail.extend(values.values())
        self.count += 1

    def drop(self, before: int) -> int:
        """Forget rows before this one, by whole groups; returns how many: by so many the others' numbers fall."""
        dropped = before - before % _GROUP
        if dropped == 0:
            return 0
        wide = len(self.sensors)
        if dropped < self._packed_rows:
            at = 0
            for _ in range(dropped // _GROUP * wide):
                at += packed_length(self._packed, at, _GROUP)
            self._packed = self._packed[at:]
            self._packed_rows -= dropped
        else:
            self._tail = self._tail[(dropped - self._packed_rows) * wide :]
            self._packed = b""
            self._packed_rows = 0
        self.count -= dropped
        return dropped

    def columns(self, begin: int, end: int) -> "list[array[float]]":
        """Each sensor's values in the rows from `begin` to before `end`."""
        wide = len(self.sensors)
        packed_rows = self._packed_rows
        tail = self._tail
        if begin >= packed_rows:
            start, stop = (begin - packed_rows) * wide, (end - packed_rows) * wide
            return [tail[start + index : stop : wide] for index in range(wide)]
        packed = self._packed
        columns = [array("d") for _ in range(wide)]
        at = 0
        for first in range(0, min(end, packed_rows), _GROUP):
            for index in range(wide):
                if first + _GROUP > begin:
                    group = unpack_numbers(packed, at, _GROUP)
                    if begin > first or end < first + _GROUP:
                        group = group[max(0, begin - first) : end - first]
                    columns[index].extend(group)
                at += packed_length(packed, at, _GROUP)
        if end > packed_rows:
            stop = (end - packed_rows) * wide
            for index in range(wide):
                columns[index] += tail[index:stop:wide]
        return columns

    def pack(self) -> bytes:
        """All rows in bytes, for `restore`; those that make whole groups stay packed here too."""
        wide = len(self.sensors)
        tail = self._tail
        rows = self.count - self._packed_rows
        if rows >= _GROUP:
            whole = rows - rows % _GROUP
            self._packed += b"".join(
                [
                    pack_numbers(tail[row * wide + index : (row + _GROUP) * wide : wide].tolist())
                    for row in range(0, whole, _GROUP)
                    for index in range(wide)
                ]
            )
            self._packed_rows += whole
            self._tail = tail = tail[whole * wide :]
            rows -= whole
        if rows == 0:
            return self._packed
        return self._packed + b"".join([pack_numbers(tail[index::wide].tolist()) for index in range(wide)])

    def restore(self, sensors: tuple[int, ...], count: int, packed: bytes) -> None:
        """Be what `pack` has written, so many rows of these sensors.

        Raises:
            ValueError, IndexError, struct.error: This is something else.
        """
        wide = len(sensors)
        if not 0 <= count <= MOST_ROWS:
            raise ValueError(f"{count} rows wait")
        if count > 0 and wide == 0:
            raise ValueError("rows of no sensor")
        rest = count % _GROUP
        at = 0
        for _ in range(count // _GROUP * wide):
            at += packed_length(packed, at, _GROUP)
        tail = array("d", bytes(8 * rest * wide))
        end = at
        if rest > 0:
            for index in range(wide):
                tail[index::wide] = array("d", unpack_numbers(packed, end, rest))
                end += packed_length(packed, end, rest)
        if end != len(packed):
            raise ValueError(f"{len(packed)} bytes of rows, not {end}")
        self.sensors = sensors
        self.count = count
        self._packed = packed[:at]
        self._packed_rows = count - rest
        self._tail = tail
