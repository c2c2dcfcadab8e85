"""Means and spread of the latest readings, in constant time."""

from array import array
from math import fsum, sqrt

from services.scoring.state import register_fields


class Mean:
    """Mean of the latest `length` readings, over a ring."""

    __slots__ = ("_next_total", "_next_value", "count", "length", "place", "ring", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.ring = array("d", [0.0]) * length
        self.total = 0.0
        self.place = 0
        self.count = 0
        self._next_total = 0.0
        self._next_value = 0.0

    def with_next(self, value: float) -> float:
        """The mean as it would be with `value` as the latest reading."""
        self._next_value = value
        total = self._next_total = self.total + value - self.ring[self.place]
        count = self.count
        return total / (self.length if count >= self.length else count + 1)

    def fill(self, value: float) -> None:
        """Forget what came, as if all readings had been `value`."""
        self.ring = array("d", [value]) * self.length
        self.total = value * self.length

    def push(self) -> None:
        """Take the value that `with_next` was asked about as the latest reading."""
        place = self.place
        self.ring[place] = self._next_value
        if self.count < self.length:
            self.count += 1
        place += 1
        if place == self.length:
            place = 0
            self.total = fsum(self.ring)
        else:
            self.total = self._next_total
        self.place = place


class Means:
    """Means of the latest `lengths[i]` readings, longest last, over one ring.

    Sums are kept by difference and taken afresh at each turn of the ring, so rounding errors do not gather.
    """

    __slots__ = ("_next_sums", "_next_value", "count", "lengths", "place", "ring", "sums")

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.lengths = lengths
        self.ring = array("d", [0.0]) * lengths[-1]
        self.sums = [0.0] * len(lengths)
        self.place = 0
        self.count = 0
        self._next_sums = self.sums
        self._next_value = 0.0

    def with_next(self, value: float) -> list[float]:
        """The means as they would be with `value` as the latest reading."""
        ring, place, count = self.ring, self.place, self.count + 1
        self._next_value = value
        sums = self._next_sums = [
            total + value - ring[place - length] for total, length in zip(self.sums, self.lengths, strict=False)
        ]
        if count >= len(ring):
            return [total / length for total, length in zip(sums, self.lengths, strict=False)]
        return [total / min(count, length) for total, length in zip(sums, self.lengths, strict=False)]

    def fill(self, value: float) -> None:
        """Forget what came, as if all readings had been `value`."""
        self.ring = array("d", [value]) * len(self.ring)
        self.sums = [value * length for length in self.lengths]

    def push(self) -> None:
        """Take the value that `with_next` was asked about as the latest reading."""
        ring, place = self.ring, self.place
        ring[place] = self._next_value
        size = len(ring)
        if self.count < size:
            self.count += 1
        place += 1
        if place == size:
            place = 0
            self.sums = [fsum(ring[size - length :]) for length in self.lengths]
        else:
            self.sums = self._next_sums
        self.place = place


class Spread:
    """Standard deviation (n) of the latest `length` readings, by sums about a centre moved at each turn of the ring."""

    __slots__ = (
        "_next",
        "_next_squares",
        "_next_total",
        "centre",
        "count",
        "length",
        "place",
        "ring",
        "squares",
        "total",
    )

    def __init__(self, length: int) -> None:
        self.length = length
        self.ring = array("d", [0.0]) * length
        self.place = 0
        self.count = 0
        self.centre = 0.0
        self.total = self._next_total = 0.0
        self.squares = self._next_squares = 0.0
        self._next = 0.0

    def with_next(self, value: float) -> float:
        """The standard deviation as it would be with `value` as the latest reading."""
        if self.count == 0:
            self.centre = value
        new = self._next = value - self.centre
        old = self.ring[self.place]
        total = self._next_total = self.total + new - old
        squares = self._next_squares = self.squares + new * new - old * old
        count = min(self.count + 1, self.length)
        mean = total / count
        variance = squares / count - mean * mean
        return sqrt(variance) if variance > 0.0 else 0.0

    def clear(self) -> None:
        """Forget what came."""
        self.ring = array("d", [0.0]) * self.length
        self.place = self.count = 0
        self.total = self.squares = 0.0

    def push(self) -> None:
        """Take the value that `with_next` was asked about as the latest reading."""
        place = self.place
        self.ring[place] = self._next
        self.total = self._next_total
        self.squares = self._next_squares
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


register_fields(Mean, "mean.1", "ring", "total", "place", "count")
register_fields(Means, "means.1", "ring", "sums", "place", "count")
register_fields(Spread, "spread.1", "ring", "place", "count", "centre", "total", "squares")
