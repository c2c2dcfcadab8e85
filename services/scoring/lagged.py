"""A forgetting range that learns late, so that a slow drift does not teach it as it goes."""

from math import log, sqrt
from typing import Final

from services.scoring.band import Band
from services.scoring.state import register_fields

_CHUNKS: Final = 5
_CHUNK_READINGS: Final = 80
_CHUNK_US: Final = 80_000_000
_FEWEST_STEPS: Final = 57.0
_LONGEST_CHUNK_US: Final = 3_600_000_000
_LEAST_UNIT: Final = 0.1


class LaggedBand(Band):
    """A `Band` for a mean over many readings, which takes values in when they are some 300 to 400 readings old.

    (At most four to five hours old, for slow signals, and at once while it is younger than that.) They are taken in by
    chunks of event time, 57 to 113 steps long: 80 s, or that halved or doubled, an hour at most. So a missing reading
    does not move the chunks that follow. Such means are nearly Gaussian, so clean data is expected to leave the range
    by less than a `Band` supposes: with n independent values and a the share of them that may alarm,
    u = max(0.1, (sqrt(ln(1 / a)) / sqrt(ln(n)) - 1) / 2).
    """

    __slots__ = ("_chunk_us", "chunk", "pending_highs", "pending_lows")

    def __init__(self, span: int, silent: int) -> None:
        super().__init__(span, silent)
        self.pending_lows: list[float] = []
        self.pending_highs: list[float] = []
        self.chunk = 0
        self._chunk_us = 0

    def observe(self, value: float, learnt: int, step_s: float, event_us: int) -> None:
        """Take one value in, sooner or later."""
        least_us = _FEWEST_STEPS * step_s * 1e6
        chunk_us = self._chunk_us
        if not least_us <= chunk_us < 2.0 * least_us:
            chunk_us = self._chunk_us = _chunk_us(least_us)
        young = _CHUNKS * max(1, min(_CHUNK_READINGS, int(chunk_us * 1e-6 / step_s))) if step_s > 0.0 else 0
        if self.since < 0 or learnt - self.since < young or self.low == self.high:
            self.learn(value, learnt)
            return
        chunk = event_us // chunk_us
        lows, highs = self.pending_lows, self.pending_highs
        if not lows or self.chunk != chunk:
            lows.append(value)
            highs.append(value)
            self.chunk = chunk
            if len(lows) > _CHUNKS:
                self.low = min(self.low, lows.pop(0))
                self.high = max(self.high, highs.pop(0))
            return
        if value < lows[-1]:
            lows[-1] = value
        elif value > highs[-1]:
            highs[-1] = value

    def forget_pending(self) -> None:
        """Leave out what has not been taken in yet."""
        self.pending_lows, self.pending_highs = [], []
        self.chunk = 0

    def _unit(self, count: int, allowance: float) -> float:
        independent = max(count / self.span, 3.0)
        share = min(max(allowance * self.span, 1e-300), 0.5)
        return max(_LEAST_UNIT, (sqrt(log(1.0 / share) / log(independent)) - 1.0) / 2.0)


def _chunk_us(least_us: float) -> int:
    chunk_us = _CHUNK_US
    while chunk_us < least_us and chunk_us < _LONGEST_CHUNK_US:
        chunk_us *= 2
    while chunk_us >= 2.0 * least_us and chunk_us > 1:
        chunk_us //= 2
    return min(chunk_us, _LONGEST_CHUNK_US)


register_fields(
    LaggedBand,
    "lagged.2",
    "low",
    "high",
    "mean",
    "since",
    "held_low",
    "held_high",
    "pending_lows",
    "pending_highs",
    "chunk",
)
