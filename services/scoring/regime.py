"""A lasting change: scored as a fault until its time is up, then adopted as the new normal."""

from math import log1p
from typing import Final

from services.scoring.guard import patience
from services.scoring.state import register_fields

_ADOPTED_STEPS: Final = 1_130.0
_CALM_READINGS: Final = 5
_WEIGHT: Final = 2.0
_UNIT: Final = 0.1
_FARTHEST: Final = 1e12


class Regime:
    """The range from before a change that the views have begun to learn (see `Guard`), while the change may be a fault.

    Views must learn a new level after six hours, to see what happens on it. Yet a fault of some 1,100 steps is a fault
    to its end: until then the means of readings are judged by the old range as well. After five readings back in it,
    the change is over.
    """

    __slots__ = ("calm", "high", "left_s", "low")

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.left_s = 0.0
        self.calm = 0

    @property
    def is_watched(self) -> bool:
        """Whether a change awaits its adoption."""
        return self.left_s > 0.0

    def begin(self, low: float, high: float, step_s: float) -> bool:
        """The views begin to learn a change from the range [low, high]; whether that is its adoption already."""
        if self.left_s > 0.0:
            return False
        self.left_s = _ADOPTED_STEPS * step_s - patience(step_s)
        self.low = low
        self.high = high
        self.calm = 0
        return self.left_s <= 0.0

    def evidence(self, mean: float) -> float:
        """How far the mean of the latest readings lies outside the old range."""
        outside = max(mean - self.high, self.low - mean)
        width = self.high - self.low
        if outside <= 0.0 or width <= 0.0:
            return 0.0
        return _WEIGHT * log1p(min(outside / width / _UNIT, _FARTHEST))

    def pass_time(self, elapsed_s: float, *, back: bool) -> bool:
        """Take a reading's time; whether the change is adopted with it. `back`: it lies within the old range."""
        self.left_s -= elapsed_s
        self.calm = self.calm + 1 if back else 0
        if self.calm >= _CALM_READINGS:
            self.left_s = 0.0
            return False
        if self.left_s > 0.0:
            return False
        self.left_s = 0.0
        return True


def adopted_after(step_s: float) -> float:
    """How long a change lasts, at the least, until it is adopted, in seconds."""
    return max(_ADOPTED_STEPS * step_s, patience(step_s))


register_fields(Regime, "regime.1", "low", "high", "left_s", "calm")
