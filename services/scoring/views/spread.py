"""How much the signal varies: noisier than ever, or flatter than ever."""

from math import log

from services.scoring.band import Band
from services.scoring.rolling import Spread
from services.scoring.state import stored
from services.scoring.views.view import Moment

_FLOOR = 0.02


@stored("spread_view.1", "spread", "band")
class SpreadView:
    """Forgetting range of ln(s + 0.02 d): s standard deviation of the latest readings, d mean absolute deviation.

    The floor keeps a flat stretch finite, about ln(0.02) under the usual. Silent for a signal that has never moved.
    """

    __slots__ = ("_latest", "band", "spread")

    def __init__(self, length: int) -> None:
        self.spread = Spread(length)
        self.band = Band(length, 50 + length)
        self._latest: float | None = None

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        deviation = self.spread.with_next(value)
        floor = _FLOOR * moment.centre.deviation
        if floor <= 0.0 or self.spread.count + 1 < self.spread.length:
            self._latest = None
            return 0.0
        latest = self._latest = log(deviation + floor)
        return self.band.novelty(latest, moment.allowance)

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        if self._latest is not None:
            self.band.learn(self._latest, moment.fade, moment.memory)
        self.spread.push()

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        if self._latest is not None:
            self.band.hold(self._latest)
        if not abrupt:
            self.spread.push()

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  only the level needs a centre
        """Forget the excursion; see `View`."""
        self.spread.clear()

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)
