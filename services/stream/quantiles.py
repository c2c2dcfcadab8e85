"""Quantiles of a window: exact up to 64 values, then a mergeable deterministic sketch with a stated error.

The sketch is that of Manku, Rajagopalan and Lindsay (SIGMOD 1998) with buffers of 64: a full buffer is sorted and every
other value of it moves one level up, where it stands for twice as many. Which half stays alternates, so that errors
cancel. A level's collapses move a rank by at most count / 64 in all, hence the bound
`count / 64 * ceil(log2(count / 64))` on a rank.
"""

from array import array
from typing import Final

BUFFER: Final = 64


class Quantiles:
    """Values seen so far; `levels[i]` holds values that stand for 2**i each."""

    __slots__ = ("levels", "turns")

    def __init__(self, levels: "list[array[float]] | None" = None, turns: int = 0) -> None:
        self.levels: list[array[float]] = [array("d")] if levels is None else levels
        self.turns = turns
        """Bit i: which half of level i stays at its next collapse."""

    def add(self, value: float) -> None:
        """Take one value."""
        self.take(array("d", (value,)))

    def take(self, values: "array[float]") -> None:
        """Take values, in the order in which they came."""
        at = 0
        while at < len(values):
            level = self.levels[0]
            room = BUFFER - len(level)
            if room == 0:
                self._collapse(0)
                continue
            level += values[at : at + room]
            at += room

    def _collapse(self, index: int) -> None:
        levels = self.levels
        if index + 1 == len(levels):
            levels.append(array("d"))
        elif len(levels[index + 1]) > BUFFER - BUFFER // 2:
            self._collapse(index + 1)
        offset = self.turns >> index & 1
        self.turns ^= 1 << index
        levels[index + 1] += array("d", sorted(levels[index])[offset::2])
        levels[index] = array("d")

    def at(self, *shares: float) -> list[float]:
        """The values at these shares (0..1) of the sorted whole, interpolated between neighbours as numpy's default."""
        weighted = sorted((value, 1 << index) for index, level in enumerate(self.levels) for value in level)
        if len(self.levels) == 1 or not any(self.levels[1:]):
            return [_interpolated([value for value, _ in weighted], share) for share in shares]
        total = sum(weight for _, weight in weighted)
        return [_by_weight(weighted, share * (total - 1)) for share in shares]


def _interpolated(values: list[float], share: float) -> float:
    position = share * (len(values) - 1)
    below = int(position)
    if below + 1 >= len(values):
        return values[-1]
    low, high = values[below], values[below + 1]
    part = position - below
    # low + (high - low) * part overflows where the two lie further apart than a float reaches.
    return low * (1 - part) + high * part


def _by_weight(weighted: list[tuple[float, int]], rank: float) -> float:
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached > rank:
            return value
    return weighted[-1][0]
