"""The forgetting range: what a quantity has been, and how far outside of it a value lies."""

from math import inf, log, log1p
from typing import Final

from services.scoring.state import register_fields

_LEAST_UNIT: Final = 0.1
_FEWEST_INDEPENDENT: Final = 6.0
_MOST_INDEPENDENT: Final = 1_000.0
_FARTHEST: Final = 1e12


class Band:
    """The range of a quantity so far, which shrinks slowly towards its mean: [low, high].

    Novelty of v is ln(1 + o / u): o is v's distance outside the range in widths of the range; u is the distance that
    clean data is expected to reach. For tails that fall like exp(-|x|), a range over n independent values is left by o
    widths with probability (2 / n) (n / 2)^(-2 o); setting that equal to the share of values that may alarm gives

        u = max(0.1, ln(2 / (allowance n)) / (2 ln(min(n, 1000) / 2)))

    so a young range on a fast signal asks for more than an old one. (Beyond a thousand values a range that forgets
    hardly widens; at a reading a second, where all views see the same, each record would raise an alarm. The idea of a
    record as anomaly is extreme value theory's, as in SPOT: Siffer et al. 2017; the forgetting range is ours.)

    `span`: successive values share this many readings (a rolling mean's length): n counts independent values.
    `silent`: values that must be learnt before the range says anything. `one_sided`: for quantities that are never
    negative and whose small values are no news; low stays 0.
    `since`: how many values its view had learnt when this range began; -1 before, when nothing is within it.
    """

    __slots__ = ("held_high", "held_low", "high", "low", "mean", "one_sided", "silent", "since", "span")

    def __init__(self, span: int = 1, silent: int = 50, *, one_sided: bool = False) -> None:
        self.span = span
        self.silent = silent
        self.one_sided = one_sided
        self.low = inf
        self.high = -inf
        self.mean = 0.0
        self.since = -1
        self.held_low = self.held_high = 0.0

    def novelty(
        self, value: float, learnt: int, allowance: float, grain: float = 0.0, least_width: float = 0.0
    ) -> float:
        """How new `value` is; 0 within the range.

        `learnt`: values that the view has learnt. `allowance`: share of readings that may alarm. `grain`: the
        quantity's resolution: one more step of it outside the range is no news. `least_width`: the width of a range
        that is narrower than this.
        """
        low, high = self.low, self.high
        count = learnt - self.since
        if low <= value <= high or count < self.silent or self.since < 0:
            return 0.0
        outside = (value - high if value > high else low - value) - grain
        width = max(high - low + grain, least_width)
        if outside <= 0.0 or width <= 0.0:
            return 0.0
        return log1p(min(outside / width / self._unit(count, allowance), _FARTHEST))

    def outside(self, value: float) -> float:
        """How far outside the range `value` lies; negative within."""
        return max(value - self.high, self.low - value)

    def _unit(self, count: int, allowance: float) -> float:
        expected = allowance * count
        if expected >= 2.0:
            return _LEAST_UNIT
        independent = min(max(count / self.span, _FEWEST_INDEPENDENT), _MOST_INDEPENDENT)
        return max(_LEAST_UNIT, log(2.0 / max(expected, 1e-300)) / (2.0 * log(independent / 2.0)))

    def learn(self, value: float, learnt: int) -> None:
        """Let the range reach `value`; needed only for values outside of it. `learnt`: as in `novelty`, before this."""
        if self.since < 0:
            self.low = self.high = self.mean = value
            if self.one_sided:
                self.low = 0.0
            self.since = learnt
            return
        if self.low == self.high != value:
            self.since = learnt  # a constant has taught nothing about how wide the range is
        if value > self.high:
            self.high = value
        elif value < self.low and not self.one_sided:
            self.low = value

    def relax(self, value: float, learnt: int, fade: float, memory: float) -> None:
        """Shrink a little, and let the mean follow a value that stands for those since the last time.

        `fade`: part of the way to the mean that the edges go now. `memory`: such values that the mean spans.
        """
        if self.since < 0:
            return
        mean = self.mean = self.mean + (value - self.mean) / min(max(learnt - self.since, 0) // RELAX_EVERY + 1, memory)
        self.high -= (self.high - mean) * fade
        if not self.one_sided:
            self.low += (mean - self.low) * fade

    def hold(self, value: float) -> None:
        """Note how far outside `value` lies, without learning it."""
        if self.since < 0:
            return
        if value > self.high:
            self.held_high = max(self.held_high, value - self.high)
        elif value < self.low:
            self.held_low = max(self.held_low, self.low - value)

    def release(self, part: float, widths: float) -> None:
        """The excursion is over: each edge follows what was held by `part`, if that lay at most `widths` outside."""
        teachable = widths * (self.high - self.low)
        if self.held_high <= teachable:
            self.high += part * self.held_high
        if self.held_low <= teachable and not self.one_sided:
            self.low -= part * self.held_low
        self.held_high = self.held_low = 0.0

    def stretch(self, times: float) -> None:
        """From now on the quantity is measured by another measure, in which it is so many times as large."""
        if self.since >= 0:
            self.low *= times
            self.high *= times
        self.mean *= times
        self.held_low *= times
        self.held_high *= times


RELAX_EVERY: Final = 16
"""Readings between two times that ranges shrink: so a reading within all ranges costs comparisons only."""

register_fields(Band, "band.2", "low", "high", "mean", "since", "held_low", "held_high")
