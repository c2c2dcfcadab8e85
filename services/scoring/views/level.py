"""The level on several scales: the reading itself and means of the latest few."""

from services.scoring.band import Band
from services.scoring.rolling import Means
from services.scoring.state import stored
from services.scoring.views.view import Moment

_ABRUPT_SPAN = 5


@stored("level.1", "means", "bands")
class LevelView:
    """Forgetting ranges of means over the latest `lengths` readings: short ones see spikes, long ones small shifts.

    `abruptness` is the evidence of single readings and the shortest means alone.
    """

    __slots__ = ("_latest", "abruptness", "bands", "means")

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.means = Means(lengths)
        self.bands = [Band(length, 50 + length // 2) for length in lengths]
        self._latest: list[float] = []
        self.abruptness = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        self._latest = latest = self.means.with_next(value)
        allowance, grain, least_width = moment.allowance, moment.grain, moment.least_width
        abruptness = slow = 0.0
        for band, mean in zip(self.bands, latest, strict=False):
            if not band.low <= mean <= band.high:
                novelty = band.novelty(mean, allowance, grain, least_width)
                if band.span <= _ABRUPT_SPAN:
                    abruptness += novelty
                else:
                    slow += novelty
        self.abruptness = abruptness
        return abruptness + slow

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        fade, memory = moment.fade, moment.memory
        seen = self.means.count
        for band, mean, length in zip(self.bands, self._latest, self.means.lengths, strict=False):
            if seen + 1 >= length:
                band.learn(mean, fade, memory)
        self.means.push()

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=False):
            band.hold(mean)
        if not abrupt:
            self.means.push()

    def recover(self, moment: Moment) -> None:
        """Forget the excursion; see `View`."""
        self.means.fill(moment.centre.mean)

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        for band in self.bands:
            band.release(part, widths)
