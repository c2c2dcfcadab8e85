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


class Scale:
    """The mean of the latest `length` readings, on the ring of `Means`. `mean`: with the value asked about last."""

    __slots__ = ("length", "mean", "next_total", "total")

    def __init__(self, length: int) -> None:
        self.length = length
        self.total = 0.0
        self.next_total = 0.0
        self.mean = 0.0


class Means:
    """Means of the latest `lengths[i]` readings, longest last, over one ring.

    Sums are kept by difference and taken afresh at each turn of the ring, so rounding errors do not gather.
    """

    __slots__ = ("_next_value", "count", "place", "ring", "scales", "size")

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.scales = [Scale(length) for length in lengths]
        self.size = lengths[-1]
        self.ring = array("d", [0.0]) * self.size
        self.place = 0
        self.count = 0
        self._next_value = 0.0

    @property
    def sums(self) -> list[float]:
        """The sum over each length."""
        return [scale.total for scale in self.scales]

    @sums.setter
    def sums(self, sums: list[float]) -> None:
        for scale, total in zip(self.scales, sums, strict=True):
            scale.total = total

    def with_next(self, value: float) -> None:
        """Set each scale's mean as it would be with `value` as the latest reading."""
        ring, place, count = self.ring, self.place, self.count + 1
        self._next_value = value
        for scale in self.scales:
            length = scale.length
            total = scale.next_total = scale.total + value - ring[place - length]
            scale.mean = total / (length if count > length else count)

    def fill(self, value: float) -> None:
        """Forget what came, as if all readings had been `value`."""
        self.ring = array("d", [value]) * self.size
        for scale in self.scales:
            scale.total = value * scale.length

    def push(self) -> None:
        """Take the value that `with_next` was asked about as the latest reading."""
        ring, place, size = self.ring, self.place, self.size
        ring[place] = self._next_value
        if self.count < size:
            self.count += 1
        place += 1
        if place == size:
            place = 0
            for scale in self.scales:
                scale.total = fsum(ring[size - scale.length :])
        else:
            for scale in self.scales:
                scale.total = scale.next_total
        self.place = place


register_fields(Means, "means.1", "ring", "sums", "place", "count")


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
