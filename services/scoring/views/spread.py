"""How much the signal varies: more than ever."""

from services.scoring.band import Band
from services.scoring.rolling import Spread
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View


class SpreadView(View):
    """Forgetting record of the standard deviation of the latest `length` readings.

    Silent for a signal that has never moved. What varies less than ever is left to `RunView`.
    """

    __slots__ = ("_latest", "_weight", "band", "learnt", "spread")

    def __init__(self, length: int, weight: float) -> None:
        self.spread = Spread(length)
        self.band = Band(length, 60 + length, one_sided=True)
        self.learnt = 0
        self._weight = weight
        self._latest = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        latest = self._latest = self.spread.with_next(value)
        band = self.band
        if latest <= band.high or moment.centre.deviation <= 0.0:
            return 0.0
        return self._weight * band.novelty(latest, self.learnt, moment.allowance)

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        spread = self.spread
        if self._latest > self.band.high and spread.count + 1 >= spread.length and moment.centre.deviation > 0.0:
            self.band.learn(self._latest, self.learnt)
        spread.push()
        self.learnt += 1

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.band.relax(self._latest, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        self.band.hold(self._latest)
        if not abrupt:
            self.spread.push()

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  only the level needs a centre
        """Forget the excursion; see `View`."""
        self.spread.clear()

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)


register_fields(SpreadView, "spread_view.2", "spread", "band", "learnt")
