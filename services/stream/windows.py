"""Event-time tumbling windows of a device: 10 s, 1 min and 5 min, per sensor.

A window is open until the watermark (the device's newest event time less the allowed lateness) reaches its end; then it
is emitted and kept, packed, on a *page* (all sensors of one window) until the correction horizon has passed. A reading
that comes within the horizon corrects its window, which is emitted again with the next revision.
"""

import math
import struct
from typing import Final, NamedTuple

import msgspec

from services.stream.quantiles import BUFFER, Quantiles

SECOND_US: Final = 1_000_000
ALLOWED_LATENESS_US: Final = 10 * SECOND_US
HORIZON_US: Final = {
    10 * SECOND_US: 60 * SECOND_US,
    60 * SECOND_US: 3600 * SECOND_US,
    300 * SECOND_US: 3600 * SECOND_US,
}
"""Window width -> how long after its end (by the watermark) a window is still corrected."""
WIDTHS: Final = tuple(HORIZON_US)

_NEVER_US: Final = 2**62
_NUMBERS: Final = struct.Struct("<Q6dqqI")


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
        count = self.count + 1
        self.count = count
        delta = value - self.mean
        mean = self.mean + delta / count
        self.mean = mean
        self.m2 += delta * (value - mean)
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        if count == 1:
            self.first = self.last = value
            self.first_us = self.last_us = event_us
        elif event_us >= self.last_us:
            self.last = value
            self.last_us = event_us
        elif event_us < self.first_us:
            self.first = value
            self.first_us = event_us
        level = self.quantiles.levels[0]
        if len(level) < BUFFER:
            level.append(value)
        else:
            self.quantiles.add(value)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); 0.0 when n = 1."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0

    def pack(self) -> bytes:
        """As bytes; `unpack` gives an equal window."""
        levels = self.quantiles.levels
        numbers = _NUMBERS.pack(
            self.count,
            self.mean,
            self.m2,
            self.low,
            self.high,
            self.first,
            self.last,
            self.first_us,
            self.last_us,
            self.revision,
        )
        head = struct.pack(f"<QB{len(levels)}B", self.quantiles.turns, len(levels), *map(len, levels))
        values = [value for level in levels for value in level]
        return numbers + head + struct.pack(f"<{len(values)}d", *values)


def unpack(packed: bytes) -> Window:
    """The window that was packed."""
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
        levels.append(list(struct.unpack_from(f"<{length}d", packed, at)))
        at += 8 * length
    window.quantiles = Quantiles(levels, turns)
    return window


class Emission(NamedTuple):
    """A window that has something to say: it was closed, corrected, or (`provisional`) is shown while still open."""

    sensor: str
    width_us: int
    start_us: int
    window: Window
    provisional: bool = False


class Page:
    """A closed window of all of a device's sensors, packed. `applied`: offset of the last record that changed it."""

    __slots__ = ("applied", "packed")

    def __init__(self, applied: int, packed: bytes) -> None:
        self.applied = applied
        self.packed = packed

    def check(self) -> None:
        """Raise ValueError where this is no page."""
        _decode_page(self.packed)


PageId = tuple[int, int]
"""(width, start), µs."""

_encode_page = msgspec.msgpack.Encoder(order="sorted").encode
_decode_page = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class DeviceWindows:
    """All windows of one device."""

    __slots__ = ("changed_pages", "expired_pages", "next_due_us", "open", "pages")

    def __init__(self) -> None:
        self.open: dict[PageId, dict[str, Window]] = {}
        self.pages: dict[PageId, Page] = {}
        self.next_due_us = _NEVER_US
        """When the watermark reaches this, `close` has something to do: an open window's end, a page's horizon."""
        self.changed_pages: set[PageId] = set()
        self.expired_pages: set[PageId] = set()

    def add(
        self, event_us: int, values: dict[str, float], *, newest_us: int, offset: int, emitted: list[Emission]
    ) -> None:
        """Take the readings of one moment; corrections of closed windows go to `emitted`.

        `newest_us` is the device's newest event time before this moment. Windows past their horizon are left alone.
        """
        watermark_us = newest_us - ALLOWED_LATENESS_US
        for width in WIDTHS:
            start = event_us - event_us % width
            end = start + width
            if end > watermark_us:
                windows = self.open.get((width, start))
                if windows is None:
                    windows = self.open[width, start] = {}
                    if end < self.next_due_us:
                        self.next_due_us = end
                for sensor, value in values.items():
                    window = windows.get(sensor)
                    if window is None:
                        window = windows[sensor] = Window()
                    window.add(event_us, value)
            elif end + HORIZON_US[width] > watermark_us:
                self._correct(width, start, event_us, values, offset, emitted)

    def close(self, newest_us: int, offset: int, emitted: list[Emission]) -> None:
        """Close what the watermark has reached, in the order of ends, and forget what is past its horizon."""
        watermark_us = newest_us - ALLOWED_LATENESS_US
        due = sorted((start + width, width, start) for width, start in self.open if start + width <= watermark_us)
        for _, width, start in due:
            windows = self.open.pop((width, start))
            page = self.pages.get((width, start))
            if page is not None and page.applied >= offset:
                continue  # A replay: this page was written, and what it says was published, before the crash.
            for sensor, window in windows.items():
                emitted.append(Emission(sensor, width, start, window))
            self._write((width, start), offset, {sensor: window.pack() for sensor, window in windows.items()})
        past = [page_id for page_id in self.pages if _horizon_of(page_id) <= watermark_us]
        for page_id in past:
            del self.pages[page_id]
            self.changed_pages.discard(page_id)
            self.expired_pages.add(page_id)
        self._set_next_due()

    def still_open(self, after_us: int, until_us: int) -> list[Emission]:
        """Open windows that end in (after_us, until_us], to be shown while their device is silent; nothing changes."""
        return [
            Emission(sensor, width, start, window, provisional=True)
            for (width, start), windows in sorted(self.open.items())
            if after_us < start + width <= until_us
            for sensor, window in windows.items()
        ]

    def _correct(
        self, width: int, start: int, event_us: int, values: dict[str, float], offset: int, emitted: list[Emission]
    ) -> None:
        page = self.pages.get((width, start))
        if page is not None and page.applied >= offset:
            return
        packed = {} if page is None else _decode_page(page.packed)
        for sensor, value in values.items():
            known = packed.get(sensor)
            if known is None:
                window = Window()
            else:
                window = unpack(known)
                window.revision += 1
            window.add(event_us, value)
            packed[sensor] = window.pack()
            emitted.append(Emission(sensor, width, start, window))
        self._write((width, start), offset, packed)

    def _write(self, page_id: PageId, offset: int, packed: dict[str, bytes]) -> None:
        self.pages[page_id] = Page(offset, _encode_page(packed))
        self.changed_pages.add(page_id)
        self.expired_pages.discard(page_id)
        # A device that only ever corrects has no open window whose end would let its pages go.
        self.next_due_us = min(self.next_due_us, _horizon_of(page_id))

    def _set_next_due(self) -> None:
        ends = [start + width for width, start in self.open]
        self.next_due_us = min([*ends, *map(_horizon_of, self.pages)], default=_NEVER_US)

    def pack_open(self) -> list[tuple[int, int, dict[str, bytes]]]:
        """The open windows, for the device's snapshot."""
        return [
            (width, start, {sensor: window.pack() for sensor, window in windows.items()})
            for (width, start), windows in sorted(self.open.items())
        ]

    def restore(self, packed: list[tuple[int, int, dict[str, bytes]]], pages: dict[PageId, Page]) -> None:
        """Take up the open windows of a snapshot, and the pages."""
        self.open = {
            (width, start): {sensor: unpack(window) for sensor, window in windows.items()}
            for width, start, windows in packed
        }
        self.pages = pages
        self._set_next_due()


def _horizon_of(page_id: PageId) -> int:
    width, start = page_id
    return start + width + HORIZON_US[width]
