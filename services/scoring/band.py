"""The forgetting range: what a quantity has been, and how far outside of it a value lies."""

from math import log, log1p

from services.scoring.state import stored

_LEAST_UNIT = 0.1
_FARTHEST = 1e12


@stored("band.1", "low", "high", "mean", "count", "held_low", "held_high")
class Band:
    """The range of a quantity so far, which shrinks slowly towards its mean: [low, high].

    Novelty of v is ln(1 + o / u): o is v's distance outside the range in widths of the range; u is the distance that
    clean data is expected to reach. For tails that fall like exp(-|x|), a range over n independent values is left by o
    widths with probability (2 / n) (n / 2)^(-2 o); setting that equal to the share of values that may alarm gives

        u = max(0.1, ln(2 / (allowance n)) / (2 ln(n / 2)))

    so a young range on a fast signal asks for more than an old one. (The idea of a record as anomaly is extreme value
    theory's, as in SPOT: Siffer et al. 2017; the forgetting range is ours.)

    `span`: successive values share this many readings (a rolling mean's length): n counts independent values.
    `silent`: values that must be learnt before the range says anything.
    """

    __slots__ = ("count", "held_high", "held_low", "high", "low", "mean", "silent", "span")

    def __init__(self, span: int = 1, silent: int = 50) -> None:
        self.span = span
        self.silent = silent
        self.low = self.high = self.mean = 0.0
        self.count = 0
        self.held_low = self.held_high = 0.0

    def novelty(self, value: float, allowance: float, grain: float = 0.0, least_width: float = 0.0) -> float:
        """How new `value` is; 0 within the range.

        `allowance`: share of readings that may alarm. `grain`: the quantity's resolution: one more step of it outside
        the range is no news. `least_width`: the width of a range that is narrower than this.
        """
        low, high = self.low, self.high
        if low <= value <= high or self.count < self.silent:
            return 0.0
        outside = (value - high if value > high else low - value) - grain
        width = max(high - low + grain, least_width)
        if outside <= 0.0 or width <= 0.0:
            return 0.0
        return log1p(min(outside / width / self._unit(allowance), _FARTHEST))

    def outside(self, value: float) -> float:
        """How far outside the range `value` lies; negative within."""
        return max(value - self.high, self.low - value)

    def _unit(self, allowance: float) -> float:
        expected = allowance * self.count
        if expected >= 2.0:
            return _LEAST_UNIT
        independent = max(self.count / self.span, 6.0)
        return max(_LEAST_UNIT, log(2.0 / expected) / (2.0 * log(independent / 2.0)))

    def learn(self, value: float, fade: float, memory: float) -> None:
        """Take `value` in.

        `fade`: part of the way to the mean that the edges go now. `memory`: readings that the mean spans.
        """
        count = self.count
        low, high = self.low, self.high
        if count == 0:
            self.low = self.high = self.mean = value
            self.count = 1
            return
        if low == high != value:
            count = 0  # a constant has taught nothing about how wide the range is
        self.count = count = count + 1
        mean = self.mean = self.mean + (value - self.mean) / min(count, memory)
        high -= (high - mean) * fade
        low += (mean - low) * fade
        self.high = value if value > high else high
        self.low = value if value < low else low

    def hold(self, value: float) -> None:
        """Note how far outside `value` lies, without learning it."""
        self.held_high = max(self.held_high, value - self.high)
        self.held_low = max(self.held_low, self.low - value)

    def release(self, part: float, widths: float) -> None:
        """The excursion is over: each edge follows what was held by `part`, if that lay at most `widths` outside."""
        teachable = widths * (self.high - self.low)
        if self.held_high <= teachable:
            self.high += part * self.held_high
        if self.held_low <= teachable:
            self.low -= part * self.held_low
        self.held_high = self.held_low = 0.0
