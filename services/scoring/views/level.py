"""The level on several scales: the reading itself and means of the latest few."""

from services.scoring.band import Band
from services.scoring.lagged import LaggedBand
from services.scoring.rolling import Means
from services.scoring.state import register_fields
from services.scoring.views.view import Moment

_ABRUPT_SPAN = 5
_SLOW_SPAN = 80


class LevelView:
    """Forgetting ranges of the reading and of means over the latest `lengths`, the weights in the same order.

    Short ones see spikes, long ones small shifts. `abruptness` is the evidence of the reading and the shortest mean
    alone; `reading` is the range of the reading itself.
    """

    __slots__ = ("_has_news", "_latest", "_slow", "_weights", "abruptness", "bands", "learnt", "means", "reading")

    def __init__(self, lengths: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.means = Means(lengths)
        self.bands = [
            LaggedBand(length, 50 + length // 2) if length >= _SLOW_SPAN else Band(length, 50 + length // 2)
            for length in (1, *lengths)
        ]
        self._slow = [(place, band) for place, band in enumerate(self.bands) if isinstance(band, LaggedBand)]
        self.reading = self.bands[0]
        self.learnt = 0
        self._weights = weights
        self._latest: list[float] = []
        self._has_news = False
        self.abruptness = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        self._latest = latest = self.means.with_next(value)
        latest.insert(0, value)
        news = False
        found = 0.0
        for band, mean in zip(self.bands, latest, strict=False):
            if not band.low <= mean <= band.high:
                news = True
                break
        self._has_news = news
        self.abruptness = 0.0
        if news:
            found = self._novelty(moment)
        return found

    @property
    def short_mean(self) -> float:
        """The mean over the shortest length, with the reading whose evidence was asked last."""
        return self._latest[1]

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        seen = self.means.count + 1
        for place, slow in self._slow:
            if seen >= slow.span:
                slow.observe(self._latest[place], self.learnt, moment.step_s)
        if self._has_news:
            for band, mean in zip(self.bands, self._latest, strict=True):
                if seen >= band.span and not isinstance(band, LaggedBand):
                    band.learn(mean, self.learnt)
        self.means.push()
        self.learnt += 1

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=False):
            band.relax(mean, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=True):
            band.hold(mean)
        if not abrupt:
            self.means.push()

    def recover(self, moment: Moment) -> None:
        """Forget the excursion; see `View`."""
        self.means.fill(moment.centre.mean)
        for _, slow in self._slow:
            slow.forget_pending()

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        for band in self.bands:
            band.release(part, widths)

    def _novelty(self, moment: Moment) -> float:
        allowance, grain, least_width = moment.allowance, moment.grain, moment.least_width
        abruptness = slow = 0.0
        seen = self.means.count + 1
        for band, mean, weight in zip(self.bands, self._latest, self._weights, strict=True):
            if seen >= band.span and not band.low <= mean <= band.high:
                novelty = weight * band.novelty(mean, self.learnt, allowance, grain, least_width)
                if band.span <= _ABRUPT_SPAN:
                    abruptness += novelty
                else:
                    slow += novelty
        self.abruptness = abruptness
        return abruptness + slow


register_fields(LevelView, "level.2", "means", "bands", "learnt")
