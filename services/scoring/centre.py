"""Where a signal lies and how wide it varies, robustly."""

from collections.abc import Sequence
from typing import Final

from services.scoring.state import register_fields

_CLAMP: Final = 5.0
_FIRST_CLAMP: Final = 12.0


class Centre:
    """Winsorised mean and mean absolute deviation, both in the signal's unit, with a memory.

    A reading counts as five deviations from the mean at most, so no reading moves either by more than a bounded part
    (Huber's location estimate, taken online). It starts from the median and the median absolute deviation of the
    first readings. `grain` is the smallest step between two readings that differ: the signal's resolution.
    """

    __slots__ = ("count", "deviation", "grain", "mean", "previous")

    def __init__(self) -> None:
        self.mean = 0.0
        self.deviation = 0.0
        self.count = 0
        self.grain = 0.0
        self.previous = 0.0

    def begin(self, values: Sequence[float]) -> tuple[float, float]:
        """Start from the first readings; the range [low, high] within which they are to be believed."""
        median = sorted(values)[len(values) // 2]
        away = sorted(abs(value - median) for value in values)
        moved = away if away[len(away) // 2] else [distance for distance in away if distance]
        typical = moved[(len(moved) - 1) // 2] if moved else 0.0
        self.mean = self.previous = median
        self.deviation = typical
        self.count = len(values) // 2
        return median - _FIRST_CLAMP * typical, median + _FIRST_CLAMP * typical

    def scaled(self, value: float) -> float:
        """`value` as deviations from the mean; 0 for a signal that has never moved."""
        return (value - self.mean) / self.deviation if self.deviation else 0.0

    def learn(self, value: float, memory: float) -> None:
        """Take `value` in; `memory` in readings."""
        self.count = count = self.count + 1
        step = abs(value - self.previous)
        if step and (step < self.grain or not self.grain):
            self.grain = step
        self.previous = value
        gain = 1.0 / (count if count < memory else memory)
        away, limit = value - self.mean, _CLAMP * self.deviation
        if limit and not -limit <= away <= limit:
            away = limit if away > limit else -limit
        self.mean += gain * away
        self.deviation += gain * (abs(away) - self.deviation)


register_fields(Centre, "centre.1", "mean", "deviation", "count", "grain", "previous")
