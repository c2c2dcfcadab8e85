"""Moments of a device that wait for its open windows to close: each of them once, however many windows it lies in.

Rows of values, one a moment, all of the same sensors. For checkpoints they are packed by eights, column by column, each
eight once; plain they stay here too, as unpacking them when a window closes costs what packing them once had saved.
Which rows there are depends on the log alone, when they are packed changes nothing.
"""

from array import array
from typing import Final

from services.stream.packed_numbers import pack_numbers, packed_length, unpack_numbers

MOST_ROWS: Final = 64
"""A window of no more readings is its values anyway: rows hold them in less memory."""
_GROUP: Final = 8


class Rows:
    """See the module. A row has a number, from 0 on; `drop` counts anew."""

    __slots__ = ("_packed", "_packed_rows", "_values", "count", "sensors")

    def __init__(self) -> None:
        self.sensors: tuple[int, ...] = ()
        """Those that the rows tell of, by number."""
        self.count = 0
        self._packed = b""
        self._packed_rows = 0
        self._values = array("d")

    def begin(self, sensors: tuple[int, ...]) -> None:
        """Forget all rows; the next ones are of these sensors."""
        self.sensors = sensors
        self.count = self._packed_rows = 0
        self._packed = b""
        self._values = array("d")

    def add(self, values: dict[str, float]) -> None:
        """One moment more; its values in the order of `sensors`."""
        self._values.extend(values.values())
        self.count += 1

    def drop(self, before: int) -> int:
        """Forget rows before this one, by whole groups; returns how many: by so many the others' numbers fall."""
        dropped = before - before % _GROUP
        if dropped == 0:
            return 0
        wide = len(self.sensors)
        self._values = self._values[dropped * wide :]
        self.count -= dropped
        if dropped < self._packed_rows:
            at = 0
            for _ in range(dropped // _GROUP * wide):
                at += packed_length(self._packed, at, _GROUP)
            self._packed = self._packed[at:]
            self._packed_rows -= dropped
        else:
            self._packed = b""
            self._packed_rows = 0
        return dropped

    def columns(self, begin: int, end: int) -> "list[array[float]]":
        """Each sensor's values in the rows from `begin` to before `end`."""
        wide = len(self.sensors)
        values = self._values
        start, stop = begin * wide, end * wide
        return [values[start + index : stop : wide] for index in range(wide)]

    def pack(self) -> bytes:
        """All rows in bytes, for `restore`."""
        whole = self.count - self.count % _GROUP
        if whole > self._packed_rows:
            self._packed += b"".join([self._group(row, _GROUP) for row in range(self._packed_rows, whole, _GROUP)])
            self._packed_rows = whole
        return self._packed if whole == self.count else self._packed + self._group(whole, self.count - whole)

    def _group(self, begin: int, count: int) -> bytes:
        wide = len(self.sensors)
        start, stop = begin * wide, (begin + count) * wide
        return b"".join([pack_numbers(self._values[start + index : stop : wide].tolist()) for index in range(wide)])

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
        values = array("d")
        at = whole_at = 0
        for begin in range(0, count, _GROUP):
            rows = min(_GROUP, count - begin)
            group = array("d", bytes(8 * rows * wide))
            for index in range(wide):
                group[index::wide] = array("d", unpack_numbers(packed, at, rows))
                at += packed_length(packed, at, rows)
            values += group
            if rows == _GROUP:
                whole_at = at
        if at != len(packed):
            raise ValueError(f"{len(packed)} bytes of rows, not {at}")
        self.sensors = sensors
        self.count = count
        self._values = values
        self._packed = packed[:whole_at]
        self._packed_rows = count - count % _GROUP
