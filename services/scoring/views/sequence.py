"""What follows what: is this reading a surprise after the one before?"""

from array import array
from math import log2
from typing import Final

from services.scoring.band import Band
from services.scoring.rolling import Mean
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View

_LEVELS: Final = 8
_LENGTH: Final = 5
_MOST: Final = 50_000
_HIGHEST: Final = 0.999999


class SequenceView(View):
    """Forgetting record of the surprise (bits, mean over 5) of the reading's level after the level before.

    Levels are eighths of the range of the reading. Their probabilities are those of a Markov chain that backs off:
    counts of pairs, smoothed by the counts of singles, smoothed by evenness. All are halved when they come to 50,000.
    """

    __slots__ = ("_level", "_surprise", "_weight", "band", "latest", "learnt", "mean", "pairs", "singles", "total")

    def __init__(self, weight: float) -> None:
        self.singles = array("H", [0]) * _LEVELS
        self.pairs = array("H", [0]) * (_LEVELS * _LEVELS)
        self.total = 0
        self.latest = 0
        self.mean = Mean(_LENGTH)
        self.band = Band(_LENGTH, 100, one_sided=True)
        self.learnt = 0
        self._weight = weight
        self._level = 0
        self._surprise = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        low, high = moment.low, moment.high
        share = max(0.0, min((value - low) / (high - low), _HIGHEST)) if low < high else 0.0
        level = self._level = int(share * _LEVELS)
        before = self.latest
        single = (self.singles[level] + 1.0 / _LEVELS) / (self.total + 1.0)
        likely = (self.pairs[before * _LEVELS + level] + single) / (self.singles[before] + 1.0)
        surprise = self._surprise = self.mean.with_next(-log2(likely))
        if surprise <= self.band.high:
            return 0.0
        return self._weight * self.band.novelty(surprise, self.learnt, moment.allowance)

    def learn(self, moment: Moment) -> None:  # noqa: ARG002  a chain needs no moment
        """Take it in; see `View`."""
        level = self._level
        self.singles[level] += 1
        self.pairs[self.latest * _LEVELS + level] += 1
        self.total += 1
        if self.total == _MOST:
            self._forget_half()
        if self._surprise > self.band.high:
            self.band.learn(self._surprise, self.learnt)
        self.learnt += 1
        self.mean.push()
        self.latest = level

    def _forget_half(self) -> None:
        self.singles = array("H", [count // 2 for count in self.singles])
        self.pairs = array("H", [count // 2 for count in self.pairs])
        self.total = sum(self.singles)

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.band.relax(self._surprise, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        self.band.hold(self._surprise)
        if not abrupt:
            self.mean.push()
            self.latest = self._level

    def recover(self, moment: Moment) -> None:
        """Forget the excursion; see `View`."""

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)


register_fields(SequenceView, "sequence.1", "singles", "pairs", "total", "latest", "mean", "band", "learnt")
