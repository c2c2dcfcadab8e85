"""Means and spread of the latest readings, in constant time."""

from array import array
from math import fsum, sqrt

from services.scoring.state import stored


@stored("means.1", "ring", "sums", "place", "count")
class Means:
    """Means of the latest `lengths[i]` readings, longest last, over one ring.

    Sums are kept by difference and taken afresh at each turn of the ring, so rounding errors do not gather.
    """

    __slots__ = ("count", "lengths", "place", "ring", "sums")

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.lengths = lengths
        self.ring = array("d", [0.0]) * lengths[-1]
        self.sums = array("d", [0.0]) * len(lengths)
        self.place = 0
        self.count = 0

    def with_(self, value: float) -> list[float]:
        """The means as they would be with `value` as the latest reading."""
        ring, place, count = self.ring, self.place, self.count + 1
        return [
            (total + value - ring[place - length]) / (length if count >= length else count)
            for total, length in zip(self.sums, self.lengths, strict=False)
        ]

    def push(self, value: float) -> None:
        """Take `value` as the latest reading."""
        ring, sums, place = self.ring, self.sums, self.place
        for i, length in enumerate(self.lengths):
            sums[i] += value - ring[place - length]
        ring[place] = value
        size = len(ring)
        if self.count < size:
            self.count += 1
        place += 1
        if place == size:
            place = 0
            for i, length in enumerate(self.lengths):
                sums[i] = fsum(ring[size - length :])
        self.place = place


@stored("spread.1", "ring", "place", "count", "centre", "total", "squares")
class Spread:
    """Standard deviation (n) of the latest `length` readings, by sums about a centre moved at each turn of the ring."""

    __slots__ = ("centre", "count", "length", "place", "ring", "squares", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.ring = array("d", [0.0]) * length
        self.place = 0
        self.count = 0
        self.centre = 0.0
        self.total = 0.0
        self.squares = 0.0

    def with_(self, value: float) -> float:
        """The standard deviation as it would be with `value` as the latest reading."""
        if self.count == 0:
            return 0.0
        new, old = value - self.centre, self.ring[self.place]
        count = min(self.count + 1, self.length)
        mean = (self.total + new - old) / count
        variance = (self.squares + new * new - old * old) / count - mean * mean
        return sqrt(variance) if variance > 0.0 else 0.0

    def push(self, value: float) -> None:
        """Take `value` as the latest reading."""
        if self.count == 0:
            self.centre = value
        new, place = value - self.centre, self.place
        old = self.ring[place]
        self.ring[place] = new
        self.total += new - old
        self.squares += new * new - old * old
        if self.count < self.length:
            self.count += 1
        place += 1
        if place == self.length:
            place = 0
            shift = self.total / self.length
            self.centre += shift
            self.ring = ring = array("d", [kept - shift for kept in self.ring])
            self.total = fsum(ring)
            self.squares = fsum([kept * kept for kept in ring])
        self.place = place
