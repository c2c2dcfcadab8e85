"""Notifications on their way: in order for each device, bounded, kept in the device's state until a channel took them.

Pure bookkeeping, without I/O. Full means: the oldest that is not being sent right now is dropped; the caller says so.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from services.alerts.rules import Channel, Source
from services.alerts.state import Notification

LIMIT: Final = 10_000
"""Notifications of one channel that wait in one worker."""
DEVICE_LIMIT: Final = 50
"""Notifications of one channel that wait for one device; bounds the device's state record."""


class Place(NamedTuple):
    """Whose state holds a notification."""

    partition: int
    key: str
    source: Source


class Entry(NamedTuple):
    """A notification, where it is kept, and when its record was read (monotonic seconds)."""

    place: Place
    notification: Notification
    read_s: float

    @property
    def id(self) -> str:
        """The event's id: the idempotency key."""
        return self.notification.event.id


class Lane:
    """One channel's notifications. Devices take turns; one device's go in order, one at a time."""

    def __init__(self, limit: int = LIMIT, device_limit: int = DEVICE_LIMIT) -> None:
        self._limit = limit
        self._device_limit = device_limit
        self._by_age: dict[str, Entry] = {}
        self._by_device: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._in_flight: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def in_flight(self) -> int:
        """How many are being sent."""
        return len(self._in_flight)

    def add(self, entry: Entry) -> list[Entry]:
        """Take one in; returns those that had to go for it. One that is here already is not taken again."""
        if entry.id in self._by_age:
            return []
        waiting = self._by_device.setdefault(entry.place.key, deque())
        waiting.append(entry)
        self._by_age[entry.id] = entry
        dropped = []
        if len(waiting) > self._device_limit:
            dropped += self._drop_first(iter(list(waiting)))
        if len(self._by_age) > self._limit:
            dropped += self._drop_first(iter(self._by_age.values()))
        return dropped

    def next(self) -> Entry | None:
        """The next to send, from then on in flight; None when there is nothing that may go now."""
        for key, waiting in self._by_device.items():
            if key not in self._in_flight:
                self._in_flight[key] = waiting[0].id
                return waiting[0]
        return None

    def done(self, entry: Entry) -> bool:
        """It is out of the way. False when it was forgotten meanwhile."""
        if not self._land(entry):
            return False
        self._remove(entry)
        return True

    def failed(self, entry: Entry) -> None:
        """It has to be sent again, after those of other devices."""
        if self._land(entry):
            self._by_device.move_to_end(entry.place.key)

    def forget(self, partition: int) -> None:
        """The partition is no longer ours; what is in flight ends without effect."""
        for entry in [e for e in self._by_age.values() if e.place.partition == partition]:
            self._in_flight.pop(entry.place.key, None)
            self._remove(entry)

    def _land(self, entry: Entry) -> bool:
        if self._in_flight.get(entry.place.key) != entry.id:
            return False
        del self._in_flight[entry.place.key]
        return True

    def _drop_first(self, candidates: Iterator[Entry]) -> list[Entry]:
        for entry in candidates:
            if self._in_flight.get(entry.place.key) != entry.id:
                self._remove(entry)
                return [entry]
        return []

    def _remove(self, entry: Entry) -> None:
        del self._by_age[entry.id]
        waiting = self._by_device[entry.place.key]
        waiting.remove(entry)
        if not waiting:
            del self._by_device[entry.place.key]


def lanes(channels: frozenset[Channel]) -> dict[Channel, Lane]:
    """An empty lane for each channel."""
    return {channel: Lane() for channel in sorted(channels)}
