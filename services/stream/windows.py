"""Event-time tumbling windows of a device: 10 s, 1 min and 5 min, per sensor.

A window is open until the watermark (the device's newest event time less the allowed lateness) reaches its end; then it
is emitted and kept, packed, on a *page* (all sensors of one window) until the correction horizon has passed. A reading
that comes within the horizon corrects its window, which is emitted again with the next revision.

What lies in open windows waits as rows of values that they share (`rows`, `open_page`), folded into them by 64.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from services.stream.open_page import NO_SPAN, OpenPage
from services.stream.open_windows import FirstForm, OpenWindows, Waiting, read_open, write_open
from services.stream.pages import Page, PageId, Parts, Shelf, join, read_page, split, write_page
from services.stream.rows import MOST_ROWS, Rows
from services.stream.window import Window, pack_window, unpack_first_form, unpack_window

SECOND_US: Final = 1_000_000
ALLOWED_LATENESS_US: Final = 10 * SECOND_US
HORIZON_US: Final = {
    10 * SECOND_US: 60 * SECOND_US,
    60 * SECOND_US: 3600 * SECOND_US,
    300 * SECOND_US: 3600 * SECOND_US,
}
"""Window width -> how long after its end (by the watermark) a window is still corrected."""
WIDTHS: Final = tuple(HORIZON_US)
NEVER: Final = 2**62


def is_late(event_us: int, newest_us: int) -> bool:
    """Whether no window takes a reading any more, not even as a correction."""
    watermark_us = newest_us - ALLOWED_LATENESS_US
    return all(event_us - event_us % width + width + horizon <= watermark_us for width, horizon in HORIZON_US.items())


class Emission(NamedTuple):
    """A window that has something to say: it was closed, corrected, or (`provisional`) is shown while still open."""

    sensor: str
    width_us: int
    start_us: int
    window: Window
    provisional: bool = False


class DeviceWindows:
    """All windows of one device."""

    __slots__ = (
        "_apart",
        "_changed",
        "_current",
        "_expired",
        "_names",
        "_open",
        "_ordinals",
        "_rows",
        "_shelves",
        "next_due_us",
    )

    def __init__(self) -> None:
        self.next_due_us = NEVER
        """When the watermark reaches this, `close` has something to do: an open window's end, a page's horizon."""
        self._names: tuple[str, ...] = ()
        """The device's sensors, in the order in which they were first aggregated."""
        self._ordinals: tuple[int, ...] = ()
        """0, 1, 2 ...: one for each name."""
        self._rows = Rows()
        self._open: list[OpenPage] = []
        self._current: tuple[OpenPage, OpenPage, OpenPage] | None = None
        """Those that took the last moment that was not late, the shortest first."""
        self._shelves: tuple[Shelf, Shelf, Shelf] | None = None
        self._apart: dict[PageId, Page] | None = None
        """Pages that were written after the snapshot that this device was restored from, as they stand there."""
        self._changed: dict[PageId, int] | None = None
        """Pages to be written, and the offset of the record that changed each."""
        self._expired: set[PageId] | None = None

    # ------------------------------------------------------------------------------------------------------ readings

    def add(
        self, event_us: int, values: dict[str, float], *, newest_us: int, offset: int, emitted: list[Emission]
    ) -> None:
        """Take the readings of one moment; corrections of closed windows go to `emitted`.

        `newest_us` is the device's newest event time before this moment. Windows past their horizon are left alone.
        """
        watermark_us = newest_us - ALLOWED_LATENESS_US
        current = self._current
        if current is not None:
            shortest, middle, longest = current
            # The shortest lies within the others: where it is open, they are.
            if shortest.start_us <= event_us < shortest.end_us and shortest.end_us > watermark_us:
                rows = self._rows
                row = self._wait(values)
                shortest.add(event_us, row, rows)
                middle.add(event_us, row, rows)
                longest.add(event_us, row, rows)
                return
        pages: list[OpenPage] = []
        for index, width_us in enumerate(WIDTHS):
            start_us = event_us - event_us % width_us
            end_us = start_us + width_us
            if end_us > watermark_us:
                pages.append(self._open_page(width_us, start_us))
            elif end_us + HORIZON_US[width_us] > watermark_us:
                self._correct(index, start_us, event_us, values, offset, emitted)
        if pages:
            row = self._wait(values)
            for page in pages:
                page.add(event_us, row, self._rows)
        if len(pages) == len(WIDTHS):
            self._current = (pages[0], pages[1], pages[2])

    def _wait(self, values: dict[str, float]) -> int:
        """Put these where open windows find them; the row's number."""
        sensors = self._sensors_of(values)
        rows = self._rows
        row = rows.count
        if row >= MOST_ROWS or (sensors is not rows.sensors and sensors != rows.sensors):
            for page in self._open:
                page.fold(rows)
            rows.begin(sensors)
            row = 0
        rows.add(values)
        return row

    def _open_page(self, width_us: int, start_us: int) -> OpenPage:
        for page in self._open:
            if page.start_us == start_us and page.width_us == width_us:
                return page
        page = OpenPage(width_us, start_us)
        self._open.append(page)
        if page.end_us < self.next_due_us:
            self.next_due_us = page.end_us
        return page

    def _sensors_of(self, values: dict[str, float]) -> tuple[int, ...]:
        """The numbers of these sensors."""
        names = tuple(values)
        if names == self._names:
            return self._ordinals
        return tuple([self._number_of(name) for name in names])

    def _number_of(self, name: str) -> int:
        if name not in self._names:
            self._take_names((*self._names, name))
        return self._names.index(name)

    def _take_names(self, names: tuple[str, ...]) -> None:
        self._names = _shared(names)
        self._ordinals = _ordinals(len(names))

    def _correct(
        self,
        index: int,
        start_us: int,
        event_us: int,
        values: dict[str, float],
        offset: int,
        emitted: list[Emission],
    ) -> None:
        page_id = (WIDTHS[index], start_us)
        if self._is_ahead(page_id, offset):
            return
        known = self._shelf(index).get(start_us)
        parts: Parts = {} if known is None else split(known)
        for sensor, value in values.items():
            number = self._number_of(sensor)
            packed = parts.get(number)
            if packed is None:
                window = Window()
            else:
                window = unpack_window(packed, start_us)
                window.revision += 1
            window.add(event_us, value)
            parts[number] = pack_window(window, start_us)
            emitted.append(Emission(sensor, page_id[0], start_us, window))
        self._keep(index, start_us, join(parts), offset)

    # ------------------------------------------------------------------------------------------------------- closing

    def close(self, newest_us: int, offset: int, emitted: list[Emission]) -> None:
        """Close what the watermark has reached, in the order of ends, and forget what is past its horizon."""
        watermark_us = newest_us - ALLOWED_LATENESS_US
        due = [page for page in self._open if page.end_us <= watermark_us]
        if due:
            self._open = [page for page in self._open if page.end_us > watermark_us]
            self._current = None
            due.sort(key=_turn)
            for page in due:
                self._close(page, offset, emitted)
            self._drop_rows()
        self.next_due_us = NEVER
        for page in self._open:
            if page.end_us < self.next_due_us:
                self.next_due_us = page.end_us
        self._expire(watermark_us)

    def _drop_rows(self) -> None:
        """Forget the rows that no open window needs."""
        rows = self._rows
        needed = rows.count
        for page in self._open:
            begin = page.needs_from()
            if 0 <= begin < needed:
                needed = begin
        if needed == rows.count:
            rows.begin(rows.sensors)
            return
        dropped = rows.drop(needed)
        if dropped > 0:
            for page in self._open:
                page.renumber(dropped)

    def _close(self, page: OpenPage, offset: int, emitted: list[Emission]) -> None:
        width_us, start_us = page.width_us, page.start_us
        if self._is_ahead((width_us, start_us), offset):
            return  # A replay: this page was written, and what it says was published, before the crash.
        names = self._names
        parts: Parts = {}
        for number, window in page.closed(self._rows).items():
            emitted.append(Emission(names[number], width_us, start_us, window))
            parts[number] = pack_window(window, start_us)
        self._keep(WIDTHS.index(width_us), start_us, join(parts), offset)

    # ----------------------------------------------------------------------------------------------------- open ones

    @property
    def has_open(self) -> bool:
        """Whether a window is open."""
        return len(self._open) > 0

    def last_end_us(self) -> int:
        """The last end of an open window; there must be one."""
        return max([page.end_us for page in self._open])

    def open_ids(self) -> set[PageId]:
        """The open windows."""
        return {(page.width_us, page.start_us) for page in self._open}

    def still_open(self, after_us: int, until_us: int) -> list[Emission]:
        """Open windows that end in (after_us, until_us], to be shown while their device is silent; nothing changes."""
        shown: list[Emission] = []
        for page in self._in_order():
            if after_us < page.end_us <= until_us:
                for number, window in page.shown(self._rows).items():
                    shown.append(Emission(self._names[number], page.width_us, page.start_us, window, provisional=True))
        return shown

    def _in_order(self) -> list[OpenPage]:
        return sorted(self._open, key=_id_of)

    # --------------------------------------------------------------------------------------------------------- pages

    def page_ids(self) -> list[PageId]:
        """All pages that are kept, and those that are gone from here but not yet from the state topic."""
        found = {*(self._apart or ()), *(self._expired or ())}
        for shelf in self._shelves or ():
            found.update([(shelf.width_us, start_us) for start_us in shelf.starts()])
        return sorted(found)

    def write_again(self, page_id: PageId, applied: int) -> None:
        """Have a page written as it is; `applied` is the offset of the last record that changed it."""
        if self._changed is None:
            self._changed = {}
        self._changed[page_id] = applied

    def take_changed(self) -> list[tuple[PageId, Page]]:
        """Pages that have changed since the last call, as they go to the state topic."""
        changed, self._changed = self._changed, None
        taken = []
        for page_id, applied in sorted((changed or {}).items()):
            apart = None if self._apart is None else self._apart.get(page_id)
            page = self._shelf(WIDTHS.index(page_id[0])).get(page_id[1])
            if apart is not None:
                taken.append((page_id, apart))
            elif page is not None:
                taken.append((page_id, Page(applied, write_page(page, self._names))))
        return taken

    def take_expired(self) -> list[PageId]:
        """Pages that were forgotten since the last call."""
        expired, self._expired = self._expired, None
        return sorted(expired or ())

    def _shelf(self, index: int) -> Shelf:
        if self._shelves is None:
            self._shelves = (Shelf(WIDTHS[0]), Shelf(WIDTHS[1]), Shelf(WIDTHS[2]))
        return self._shelves[index]

    def _keep(self, index: int, start_us: int, page: bytes, offset: int) -> None:
        self._shelf(index).put(start_us, page)
        page_id = (WIDTHS[index], start_us)
        if self._changed is None:
            self._changed = {}
        self._changed[page_id] = offset
        if self._expired is not None:
            self._expired.discard(page_id)
        # A device that only ever corrects has no open window whose end would let its pages go.
        self.next_due_us = min(self.next_due_us, _horizon_of(page_id))

    def _is_ahead(self, page_id: PageId, offset: int) -> bool:
        """Whether the page as it was restored has what the record at this offset says; if not, it is taken up."""
        if self._apart is None:
            return False
        page = self._apart.get(page_id)
        if page is None:
            return False
        if page.applied >= offset:
            return True
        self._take_up(page_id, page)
        return False

    def _take_up(self, page_id: PageId, page: Page) -> None:
        """Put a restored page on its shelf, its sensors by the numbers that they have here."""
        width_us, start_us = page_id
        numbers, content = read_page(page.written, start_us)
        if any(number >= len(self._names) or self._names[number] != name for name, number in numbers.items()):
            here = {number: self._number_of(name) for name, number in numbers.items()}
            content = join({here[number]: packed for number, packed in split(content).items()})
        self._keep(WIDTHS.index(width_us), start_us, content, page.applied)
        if self._apart is not None:
            self._apart.pop(page_id, None)
            self._apart = self._apart or None

    def _expire(self, watermark_us: int) -> None:
        past: list[PageId] = []
        for shelf in self._shelves or ():
            oldest_us = shelf.oldest_us()
            while oldest_us is not None:
                horizon_us = _horizon_of((shelf.width_us, oldest_us))
                if horizon_us > watermark_us:
                    self.next_due_us = min(self.next_due_us, horizon_us)
                    break
                past.append((shelf.width_us, oldest_us))
                shelf.drop_oldest()
                oldest_us = shelf.oldest_us()
        if self._apart is not None:
            for page_id in list(self._apart):
                if _horizon_of(page_id) > watermark_us:
                    self.next_due_us = min(self.next_due_us, _horizon_of(page_id))
                else:
                    past.append(page_id)
                    del self._apart[page_id]
            self._apart = self._apart or None
        if past:
            self._expired = (self._expired or set()) | set(past)
            for page_id in past:
                if self._changed is not None:
                    self._changed.pop(page_id, None)

    # ------------------------------------------------------------------------------------------------------- written

    def pack_open(self) -> bytes:
        """The open windows, for the device's snapshot."""
        rows = self._rows
        in_order = self._in_order()
        pages = [(page.width_us, page.start_us, page.pack()) for page in in_order]
        waiting = Waiting(rows.sensors, rows.count, rows.pack(), [page.span() for page in in_order])
        return write_open(OpenWindows(self._names, pages, waiting))

    def restore(self, packed: bytes | FirstForm, pages: dict[PageId, Page], applied: int) -> None:
        """Take up the open windows of a snapshot that has applied so many offsets, and the pages.

        Raises:
            ValueError, IndexError, OverflowError, struct.error: These are no open windows.
        """
        if isinstance(packed, bytes):
            stored = read_open(packed)
            self._take_names(stored.names)
            self._restore_open(stored)
        else:
            self._restore_first_form(packed)
        if pages:
            self._apart = dict(pages)
            for page_id, page in sorted(pages.items()):
                if page.applied <= applied:
                    self._take_up(page_id, page)
            self._changed = None
        self.next_due_us = NEVER
        for width_us, start_us in self.open_ids():
            self.next_due_us = min(self.next_due_us, start_us + width_us)
        for page_id in self.page_ids():
            self.next_due_us = min(self.next_due_us, _horizon_of(page_id))

    def _restore_open(self, stored: OpenWindows) -> None:
        waiting = stored.waiting
        rows = self._rows
        spans = [NO_SPAN] * len(stored.pages)
        if waiting is not None:
            spans = waiting.spans
            ordinals = _ordinals(len(waiting.sensors))
            # The device's own sensors are known again faster where it is their very tuple.
            rows.restore(ordinals if waiting.sensors == ordinals else waiting.sensors, waiting.count, waiting.packed)
        for (width_us, start_us, packed), span in zip(stored.pages, spans, strict=True):
            self._open_page(width_us, start_us).restore(packed, span, rows)

    def _restore_first_form(self, packed: FirstForm) -> None:
        for width_us, start_us, by_name in packed:
            windows = {self._number_of(name): unpack_first_form(window) for name, window in by_name.items()}
            self._open_page(width_us, start_us).restore_windows(windows)


def _turn(page: OpenPage) -> tuple[int, int]:
    return page.end_us, page.width_us


def _id_of(page: OpenPage) -> PageId:
    return page.width_us, page.start_us


def _horizon_of(page_id: PageId) -> int:
    width_us, start_us = page_id
    return start_us + width_us + HORIZON_US[width_us]


@lru_cache(4096)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all devices of the same sensors."""
    return names


@lru_cache(4096)
def _ordinals(count: int) -> tuple[int, ...]:
    return tuple(range(count))
