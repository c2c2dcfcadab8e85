"""An open window of all of a device's sensors.

Moments that told of the same sensors wait together as rows of values, and become a `Window` for each sensor when the
page is closed or shown, when 64 wait, or when a moment tells of other sensors. By then each `Window` is what it would
be had each reading been added as it came.
"""

from array import array
from typing import Final

from services.stream.quantiles import BUFFER
from services.stream.window import Window

_ROWS: Final = BUFFER
"""A window of no more readings is its values anyway: rows hold them in less memory."""


class OpenPage:
    """One window, width and start in µs, of sensors by number: see the module."""

    __slots__ = (
        "_earliest",
        "_earliest_us",
        "_held",
        "_latest",
        "_latest_us",
        "_rows",
        "_sensors",
        "_windows",
        "end_us",
        "start_us",
        "width_us",
    )

    def __init__(self, width_us: int, start_us: int) -> None:
        self.width_us = width_us
        self.start_us = start_us
        self.end_us = start_us + width_us
        self._sensors: tuple[int, ...] = ()
        """Those that the rows tell of."""
        self._rows = array("d")
        self._held = 0
        self._earliest = 0
        """The rows' first by event time, of equal ones the first that came; and the last, the last that came."""
        self._earliest_us = 0
        self._latest = 0
        self._latest_us = 0
        self._windows: dict[int, Window] | None = None
        """What came before the rows, by sensors in the order in which they came."""

    def add(self, event_us: int, sensors: tuple[int, ...], row: "array[float]") -> None:
        """Take one moment's values, of the sensors in this order."""
        held = self._held
        if held > 0 and (held >= _ROWS or (sensors is not self._sensors and sensors != self._sensors)):
            self._windows = self._made()
            self._rows = array("d")
            held = 0
        if held == 0:
            self._sensors = sensors
            self._earliest = self._latest = 0
            self._earliest_us = self._latest_us = event_us
        elif event_us >= self._latest_us:
            self._latest = held
            self._latest_us = event_us
        elif event_us < self._earliest_us:
            self._earliest = held
            self._earliest_us = event_us
        self._rows += row
        self._held = held + 1

    def windows(self) -> dict[int, Window]:
        """The sensors' windows by number, in the order in which the sensors came. Not to be changed."""
        windows = self._made()
        if self._windows is not None:
            self._rows = array("d")
            self._held = 0
        return windows

    def restore(self, windows: dict[int, Window]) -> None:
        """Go on from these windows."""
        self._windows = windows

    def _made(self) -> dict[int, Window]:
        """The windows, the rows put into those that there are."""
        windows: dict[int, Window] = {} if self._windows is None else self._windows
        if self._held == 0:
            return windows
        sensors = self._sensors
        wide = len(sensors)
        for index in range(wide):
            number = sensors[index]
            window = windows.get(number)
            if window is None:
                window = windows[number] = Window()
            column = self._rows[index::wide]
            window.take(self._earliest_us, column[self._earliest], self._latest_us, column[self._latest], column)
        return windows
