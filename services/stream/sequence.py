"""What a device's sequence numbers tell: what was seen already, and what is missing.

Within one *epoch* the counter only rises. What was seen is everything from `low` to `high` but the holes, so that the
memory is that of the holes. A jump back, with a newer time, begins a new epoch (the device restarted its counter); the
end of the epoch before is remembered, so that what the broker delivers again after a restart is known for a repeat.

Limits: below a hole that was given up nothing is known, so that a repeat from there counts as new, and what fills the
hole does not withdraw its gap. After a restart the same holds for what lies `REMEMBERED` numbers back, or two restarts.
"""

from enum import Enum
from typing import Final

import msgspec

MAX_HOLES: Final = 64
"""With more holes the oldest is reported and given up: what comes from below it is accepted and no longer tracked."""
MAX_RANGE: Final = 1_000_000
REMEMBERED: Final = 1024
"""Of an epoch that is over, so many of its last numbers: more than a bridge and its broker can have in flight."""


class Seen(Enum):
    """What an element's sequence number says about it."""

    NEW = "new"
    DUPLICATE = "duplicate"


class Hole(msgspec.Struct, array_like=True, gc=False):
    """A missing range, both ends inclusive; noticed at `noticed_us` (event time)."""

    first: int
    last: int
    noticed_us: int
    reported: bool


class RangeChange(msgspec.Struct, frozen=True, gc=False):
    """A range that is now known to be missing, is no longer, or was leapt over (`jump`)."""

    epoch: int
    first: int
    last: int
    missing: bool
    jump: bool = False


class Sequence(msgspec.Struct, array_like=True, gc=False):
    """One device's counter."""

    epoch: int = 0
    low: int = 0
    high: int = -1
    high_us: int = 0
    """Event time of `high`."""
    holes: list[Hole] = []
    gave_up: bool = False
    """A hole of this epoch was given up: what lies below `low` is not known."""
    before: "Sequence | None" = None
    """The end of the epoch before this one."""

    def follows(self, seq: int, event_us: int) -> bool:
        """Take the number that is next; False: it is another, which `see` knows what to do with."""
        high = self.high
        if seq != high + 1 or high < 0:
            return False
        self.high = seq
        self.high_us = event_us
        return True

    def see(
        self, seq: int, event_us: int, changes: list[RangeChange], *, clocked: bool = True, repeated: bool = False
    ) -> Seen:
        """Take one sequence number; what becomes known of ranges is added to `changes`.

        `event_us` decides between a repeat and a restarted counter: a number seen before is a repeat unless its time
        is newer than that of the highest. Not `clocked`: that time is the bridge's, so it is newer always; then a
        number that is missing fills its hole, and what has the bytes of a message seen before is `repeated`.
        """
        if self.follows(seq, event_us):
            return Seen.NEW
        high = self.high
        if self.before is not None and clocked and self._is_from_before(self.before, seq, event_us):
            return self.before._fill(seq, changes)  # noqa: SLF001 - another of its kind
        if high < 0:
            self.low = self.high = seq
            self.high_us = event_us
            return Seen.NEW
        if seq > high:
            if seq - high - 1 > MAX_RANGE:
                changes.append(RangeChange(self.epoch, high + 1, seq - 1, missing=True, jump=True))
                self._restart(seq, event_us, changes)
                return Seen.NEW
            self._open(Hole(high + 1, seq - 1, event_us, reported=False), changes)
            self.high = seq
            self.high_us = event_us
            return Seen.NEW
        if repeated:
            return Seen.DUPLICATE
        if event_us > self.high_us and (clocked or not self._is_missing(seq)):
            self._restart(seq, event_us, changes)
            return Seen.NEW
        if seq < self.low:
            self._reach_down(seq, changes)
            return Seen.NEW
        return self._fill(seq, changes)

    def due(self, watermark_us: int, changes: list[RangeChange]) -> None:
        """Report holes that were noticed before `watermark_us` and are still there."""
        for hole in self.holes:
            if hole.noticed_us <= watermark_us:
                self._report(hole, changes)

    def _report(self, hole: Hole, changes: list[RangeChange]) -> None:
        if not hole.reported:
            hole.reported = True
            changes.append(RangeChange(self.epoch, hole.first, hole.last, missing=True))

    def _is_from_before(self, before: "Sequence", seq: int, event_us: int) -> bool:
        """Whether this is a message of the epoch before, and not of a device whose clock went back since."""
        return event_us <= before.high_us < self.high_us and before.low <= seq <= before.high

    def _is_missing(self, seq: int) -> bool:
        return any(hole.first <= seq <= hole.last for hole in self.holes)

    def _open(self, hole: Hole, changes: list[RangeChange]) -> None:
        self.holes = sorted([*self.holes, hole], key=lambda h: h.first)
        self._give_up_oldest(changes)

    def _give_up_oldest(self, changes: list[RangeChange]) -> None:
        if len(self.holes) > MAX_HOLES:
            oldest = self.holes.pop(0)
            self._report(oldest, changes)
            self.low = oldest.last + 1
            self.gave_up = True

    def _reach_down(self, seq: int, changes: list[RangeChange]) -> None:
        """The epoch's first messages came out of order: it began lower than was thought."""
        if self.gave_up or self.low - seq - 1 > MAX_RANGE:
            return
        if seq < self.low - 1:
            self._open(Hole(seq + 1, self.low - 1, self.high_us, reported=False), changes)
        if not self.gave_up:
            self.low = seq

    def _fill(self, seq: int, changes: list[RangeChange]) -> Seen:
        index = next((i for i, hole in enumerate(self.holes) if hole.first <= seq <= hole.last), None)
        if index is None:
            return Seen.DUPLICATE
        hole = self.holes[index]
        rest = [
            Hole(first, last, hole.noticed_us, hole.reported)
            for first, last in ((hole.first, seq - 1), (seq + 1, hole.last))
            if first <= last
        ]
        self.holes = [*self.holes[:index], *rest, *self.holes[index + 1 :]]
        if hole.reported:
            changes.append(RangeChange(self.epoch, hole.first, hole.last, missing=False))
            changes += [RangeChange(self.epoch, part.first, part.last, missing=True) for part in rest]
        # One that is filled in its middle becomes two.
        self._give_up_oldest(changes)
        return Seen.NEW

    def _restart(self, seq: int, event_us: int, changes: list[RangeChange]) -> None:
        # What the old epoch still misses can no longer be waited for: it is reported now.
        for hole in self.holes:
            self._report(hole, changes)
        floor = max(self.low, self.high - REMEMBERED + 1)
        self.before = Sequence(
            epoch=self.epoch,
            low=floor,
            high=self.high,
            high_us=self.high_us,
            holes=[hole for hole in self.holes if hole.last >= floor],
            gave_up=True,
        )
        self.epoch += 1
        self.low = self.high = seq
        self.high_us = event_us
        self.holes = []
        self.gave_up = False
