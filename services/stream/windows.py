"""Event-time tumbling windows of a device: 10 s, 1 min and 5 min, per sensor.

A window is open until the watermark (the device's newest event time less the allowed lateness) reaches its end; then it
is emitted and kept, packed, on a *page* (all sensors of one window) until the correction horizon has passed. A reading
that comes within the horizon corrects its window, which is emitted again with the next revision.

Open windows are not kept as such: the device's latest moments are, once for all widths, and a window is made of those
in it when it closes. Where `FOLDED_AFTER` moments wait, the first of them go, in the order of the log, into packed
windows, which are thus what they would be had each reading been added as it came.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from services.stream.moments import Head, Moment, by_sensor, following, heads, pack_moments, put_moment, unpack_moments
from services.stream.open_windows import FirstForm, OpenWindows, read_open, write_open
from services.stream.pages import Page, PageId, Parts, Shelf, join, read_page, split, write_page
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
FOLDED_AFTER: Final = 64
"""Moments that wait, in memory and in each snapshot. Fewer are less of both, and more work: the open windows are
unpacked and packed again each time."""
FOLDED_AT_LEAST: Final = 32
"""Moments that are folded at a time."""

NEVER: Final = 2**62
_SHORTEST_US: Final = 10 * SECOND_US
_ALL_WIDTHS: Final = 0b111


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
        "_expired",
        "_folded",
        "_held",
        "_log",
        "_longer_due_us",
        "_names",
        "_settled",
        "_shelves",
        "next_due_us",
    )

    def __init__(self) -> None:
        self.next_due_us = NEVER
        """When the watermark reaches this, `close` has something to do: an open window's end, a page's horizon."""
        self._names: tuple[str, ...] = ()
        """The device's sensors, in the order in which they were first aggregated."""
        self._log = bytearray()
        self._held = 0
        """Moments in the log."""
        self._settled = 0
        """So many bytes of the log are moments whose shortest windows are closed, and the others of which end ..."""
        self._longer_due_us = NEVER
        """... from here on."""
        self._folded: dict[PageId, bytes] | None = None
        """Open windows' earlier part."""
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
        if event_us >= watermark_us:
            end_us = event_us - event_us % _SHORTEST_US + _SHORTEST_US
            if end_us < self.next_due_us:
                self.next_due_us = end_us
            self._put(_ALL_WIDTHS, event_us, values)
            return
        counts = 0
        for index, width_us in enumerate(WIDTHS):
            start_us = event_us - event_us % width_us
            end_us = start_us + width_us
            if end_us > watermark_us:
                counts |= 1 << index
                if end_us < self.next_due_us:
                    self.next_due_us = end_us
            elif end_us + HORIZON_US[width_us] > watermark_us:
                self._correct(index, start_us, event_us, values, offset, emitted)
        if counts:
            self._put(counts, event_us, values)

    def _put(self, widths: int, event_us: int, values: dict[str, float]) -> None:
        if self._held >= FOLDED_AFTER:
            self._fold()
        shape = tuple(values)
        numbers = None
        if shape != self._names and shape != self._names[: len(shape)]:
            found = tuple([self._number_of(name) for name in shape])
            if found != tuple(range(len(found))):
                numbers = found
        put_moment(self._log, widths, Moment(event_us, numbers, tuple(values.values())))
        self._held += 1

    def _number_of(self, name: str) -> int:
        names = self._names
        if name not in names:
            names = self._names = _shared((*names, name))
        return names.index(name)

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
        due: dict[tuple[int, int], list[Head]] = {}
        for width_us, start_us in self._folded or ():
            if start_us + width_us <= watermark_us:
                due[start_us + width_us, width_us] = []
        next_due_us = self._look_for_due(watermark_us, due)
        for end_us, width_us in sorted(due):
            self._close(width_us, end_us - width_us, due[end_us, width_us], offset, emitted)
        if due and self._settled == 0:
            self._drop_closed()
        self.next_due_us = next_due_us
        self._expire(watermark_us)
        for width_us, start_us in self._folded or ():
            self.next_due_us = min(self.next_due_us, start_us + width_us)

    def _look_for_due(self, watermark_us: int, due: dict[tuple[int, int], list[Head]]) -> int:
        """Find the moments of windows that end; returns when the next one does."""
        log = self._log
        if watermark_us >= self._longer_due_us:
            self._settled, self._longer_due_us = 0, NEVER
        settled, longer_due_us, next_due_us = self._settled, self._longer_due_us, NEVER
        settling, closed = True, False
        for head in heads(log, settled):
            at, _, widths, event_us = head
            if event_us >= watermark_us and widths == _ALL_WIDTHS:
                settling = False
                end_us = event_us - event_us % _SHORTEST_US + _SHORTEST_US
                if end_us < next_due_us:
                    next_due_us = end_us
                continue
            left = widths
            for index, width_us in enumerate(WIDTHS):
                if widths >> index & 1:
                    end_us = event_us - event_us % width_us + width_us
                    if end_us <= watermark_us:
                        due.setdefault((end_us, width_us), []).append(head)
                        left &= ~(1 << index)
                    elif end_us < next_due_us:
                        next_due_us = end_us
            if left != widths:
                log[at] = left
                closed = closed or not left
            settling = settling and not left & 1
            if settling:
                settled = following(log, at)
                if next_due_us < longer_due_us:
                    longer_due_us = next_due_us
        self._settled, self._longer_due_us = (0, NEVER) if closed else (settled, longer_due_us)
        return min(next_due_us, longer_due_us)

    def _close(self, width_us: int, start_us: int, moments: list[Head], offset: int, emitted: list[Emission]) -> None:
        windows = self._made_of((width_us, start_us), moments)
        if self._folded is not None:
            self._folded.pop((width_us, start_us), None)
            self._folded = self._folded or None
        if self._is_ahead((width_us, start_us), offset):
            return  # A replay: this page was written, and what it says was published, before the crash.
        names = self._names
        parts: Parts = {}
        for number, window in windows.items():
            emitted.append(Emission(names[number], width_us, start_us, window))
            parts[number] = pack_window(window, start_us)
        self._keep(WIDTHS.index(width_us), start_us, join(parts), offset)

    def _made_of(self, page_id: PageId, moments: list[Head]) -> dict[int, Window]:
        """The window's folded part and these moments, by sensor, in the order in which the sensors came."""
        folded = None if self._folded is None else self._folded.get(page_id)
        start_us = page_id[1]
        windows: dict[int, Window] = {}
        if folded is not None:
            for number, packed in split(folded).items():
                windows[number] = unpack_window(packed, start_us)
        if moments:
            for number, (times_us, values) in by_sensor(self._log, moments).items():
                window = windows.get(number)
                if window is None:
                    window = windows[number] = Window()
                window.take(times_us, values)
        return windows

    def _drop_closed(self) -> None:
        """Leave out the moments whose windows are all closed."""
        log, kept = self._log, bytearray()
        held = 0
        for at, _, widths, _ in heads(log):
            if widths:
                kept += log[at : following(log, at)]
                held += 1
        self._log, self._held = kept, held

    def _fold(self) -> None:
        """Put the first moments into packed windows: those whose shortest are closed, else all."""
        end = count = 0
        for at, _, widths, _ in heads(self._log):
            if widths & 1:
                break
            end = following(self._log, at)
            count += 1
        if count < FOLDED_AT_LEAST:
            end, count = len(self._log), self._held
        by_page = self._moments(end)
        folded: dict[PageId, bytes] = dict(self._folded or ())
        for page_id in sorted(by_page):
            windows = self._made_of(page_id, by_page[page_id])
            folded[page_id] = join({number: pack_window(window, page_id[1]) for number, window in windows.items()})
        self._folded = folded
        self._log = self._log[end:]
        self._held -= count
        self._settled, self._longer_due_us = 0, NEVER

    def _moments(self, end: int | None = None) -> dict[PageId, list[Head]]:
        """The open windows' moments, of the log's first `end` bytes or of all."""
        found: dict[PageId, list[Head]] = {}
        for head in heads(self._log if end is None else self._log[:end]):
            for index, width_us in enumerate(WIDTHS):
                if head.widths >> index & 1:
                    start_us = head.event_us - head.event_us % width_us
                    found.setdefault((width_us, start_us), []).append(head)
        return found

    # ----------------------------------------------------------------------------------------------------- open ones

    @property
    def has_open(self) -> bool:
        """Whether a window is open."""
        return self._held > 0 or self._folded is not None

    def last_end_us(self) -> int:
        """The last end of an open window; there must be one."""
        return max([start_us + width_us for width_us, start_us in self.open_ids()])

    def open_ids(self) -> set[PageId]:
        """The open windows."""
        return {*self._moments(), *(self._folded or ())}

    def still_open(self, after_us: int, until_us: int) -> list[Emission]:
        """Open windows that end in (after_us, until_us], to be shown while their device is silent; nothing changes."""
        moments = self._moments()
        shown: list[Emission] = []
        for page_id in sorted({*moments, *(self._folded or ())}):
            width_us, start_us = page_id
            if after_us < start_us + width_us <= until_us:
                for number, window in self._made_of(page_id, moments.get(page_id, [])).items():
                    shown.append(Emission(self._names[number], width_us, start_us, window, provisional=True))
        return shown

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
        folded = [(width_us, start_us, page) for (width_us, start_us), page in sorted((self._folded or {}).items())]
        return write_open(OpenWindows(self._names, pack_moments(self._log), folded))

    def restore(self, packed: bytes | FirstForm, pages: dict[PageId, Page], applied: int) -> None:
        """Take up the open windows of a snapshot that has applied so many offsets, and the pages.

        Raises:
            ValueError, IndexError, OverflowError, struct.error: These are no open windows.
        """
        if isinstance(packed, bytes):
            stored = read_open(packed)
            self._names = _shared(stored.names)
            self._log, self._held = unpack_moments(stored.moments)
            self._folded = {(width_us, start_us): page for width_us, start_us, page in stored.folded} or None
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

    def _restore_first_form(self, packed: FirstForm) -> None:
        folded: dict[PageId, bytes] = {}
        for width_us, start_us, windows in packed:
            parts: Parts = {}
            for name, window in windows.items():
                parts[self._number_of(name)] = pack_window(unpack_first_form(window), start_us)
            folded[width_us, start_us] = join(parts)
        self._folded = folded or None


def _horizon_of(page_id: PageId) -> int:
    width_us, start_us = page_id
    return start_us + width_us + HORIZON_US[width_us]


@lru_cache(4096)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all devices of the same sensors."""
    return names
