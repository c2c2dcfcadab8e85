"""An open window of all of a device's sensors.

Its last readings are rows that the device's windows share (`Rows`), the ones next to each other; what came before them
is a `Window` for each sensor. By the time it closes each `Window` is what it would be had each reading been added as it
came. A checkpoint packs these, and so they stay until rows are put into them again.
"""

from typing import Final

from services.stream.pages import Parts, join, split
from services.stream.rows import Rows
from services.stream.window import Window, pack_window, unpack_window

Span = tuple[int, int, int, int, int, int]
"""Which rows a page has: the first one and their count; which of these are the earliest and the latest by event time;
and the times of these two, µs after the window's start."""
NO_SPAN: Final[Span] = (0, 0, 0, 0, 0, 0)


class OpenPage:
    """One window, width and start in µs, of sensors by number: see the module."""

    __slots__ = (
        "_begin",
        "_earliest",
        "_earliest_us",
        "_held",
        "_latest",
        "_latest_us",
        "_packed",
        "_windows",
        "end_us",
        "start_us",
        "width_us",
    )

    def __init__(self, width_us: int, start_us: int) -> None:
        self.width_us = width_us
        self.start_us = start_us
        self.end_us = start_us + width_us
        self._begin = 0
        self._held = 0
        self._earliest = 0
        """The rows' first by event time, of equal ones the first that came; and the last, the last that came."""
        self._earliest_us = 0
        self._latest = 0
        self._latest_us = 0
        self._windows: dict[int, Window] | None = None
        """What came before the rows, by sensors in the order in which they came; None: it is packed."""
        self._packed = b""

    def add(self, event_us: int, row: int, rows: Rows) -> None:
        """Take a moment, the row with this number."""
        held = self._held
        if held > 0 and self._begin + held != row:
            self.fold(rows)
            held = 0
        if held == 0:
            self._begin = row
            self._earliest = self._latest = 0
            self._earliest_us = self._latest_us = event_us
        elif event_us >= self._latest_us:
            self._latest = held
            self._latest_us = event_us
        elif event_us < self._earliest_us:
            self._earliest = held
            self._earliest_us = event_us
        self._held = held + 1

    def fold(self, rows: Rows) -> None:
        """Need these rows no longer."""
        if self._held == 0:
            return
        windows = self._windows
        if windows is None:
            windows = self._windows = self._unpacked()
            self._packed = b""
        self._put_into(windows, rows)
        self._held = 0

    def shown(self, rows: Rows) -> dict[int, Window]:
        """The sensors' windows by number, in the order in which the sensors came, as copies."""
        self._pack()
        windows = self._unpacked()
        if self._held > 0:
            self._put_into(windows, rows)
        return windows

    def closed(self, rows: Rows) -> dict[int, Window]:
        """What `shown` says. The page is of no use after that."""
        self.fold(rows)
        windows = self._windows
        return self._unpacked() if windows is None else windows

    def needs_from(self) -> int:
        """The first row that it has; -1: none."""
        return self._begin if self._held > 0 else -1

    def renumber(self, dropped: int) -> None:
        """The rows' numbers have fallen by so many."""
        self._begin -= dropped

    def pack(self) -> bytes:
        """What came before the rows, for `restore`."""
        self._pack()
        return self._packed

    def span(self) -> Span:
        """Its rows, for `restore`."""
        if self._held == 0:
            return NO_SPAN
        start_us = self.start_us
        return (
            self._begin,
            self._held,
            self._earliest,
            self._latest,
            self._earliest_us - start_us,
            self._latest_us - start_us,
        )

    def restore(self, packed: bytes, span: Span, rows: Rows) -> None:
        """Be the page of which `pack` and `span` told, with these rows.

        Raises:
            ValueError, IndexError: It cannot be that.
        """
        split(packed)
        begin, held, earliest, latest, earliest_us, latest_us = span
        if not 0 <= begin <= begin + held <= rows.count or (held and not (0 <= earliest < held and 0 <= latest < held)):
            raise ValueError(f"rows {span} of {rows.count}")
        self._packed = packed
        self._begin = begin
        self._held = held
        self._earliest = earliest
        self._latest = latest
        self._earliest_us = self.start_us + earliest_us
        self._latest_us = self.start_us + latest_us

    def restore_windows(self, windows: dict[int, Window]) -> None:
        """Go on from these windows."""
        self._windows = windows

    def _unpacked(self) -> dict[int, Window]:
        if not self._packed:
            return {}
        start_us = self.start_us
        return {number: unpack_window(packed, start_us) for number, packed in split(self._packed).items()}

    def _pack(self) -> None:
        windows = self._windows
        if windows is None:
            return
        start_us = self.start_us
        parts: Parts = {}
        for number, window in windows.items():
            parts[number] = pack_window(window, start_us)
        self._packed = join(parts)
        self._windows = None

    def _put_into(self, windows: dict[int, Window], rows: Rows) -> None:
        begin = self._begin
        sensors = rows.sensors
        columns = rows.columns(begin, begin + self._held)
        for index in range(len(sensors)):
            number = sensors[index]
            window = windows.get(number)
            if window is None:
                window = windows[number] = Window()
            column = columns[index]
            window.take(self._earliest_us, column[self._earliest], self._latest_us, column[self._latest], column)
