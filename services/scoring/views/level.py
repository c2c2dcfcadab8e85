"""The level on several scales: the reading itself and means of the latest few."""

from typing import Final

from services.scoring.band import Band
from services.scoring.lagged import LaggedBand
from services.scoring.rolling import Means
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View

_ABRUPT_SPAN: Final = 5
_SLOW_SPAN: Final = 80


class LevelView(View):
    """Forgetting ranges of the reading and of means over the latest `lengths`, the weights in the same order.

    Short ones see spikes, long ones small shifts. `abruptness` is the evidence of the reading and the shortest mean
    alone; `reading` is the range of the reading itself.
    """

    __slots__ = (
        "_has_news",
        "_pairs",
        "_slow",
        "_value",
        "_weights",
        "abruptness",
        "bands",
        "learnt",
        "means",
        "reading",
    )

    def __init__(self, lengths: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.means = Means(lengths)
        self.bands = [
            LaggedBand(length, 50 + length // 2) if length >= _SLOW_SPAN else Band(length, 50 + length // 2)
            for length in (1, *lengths)
        ]
        self.reading = self.bands[0]
        self.learnt = 0
        self.abruptness = 0.0
        self._pairs = list(zip(self.means.scales, self.bands[1:], strict=True))
        self._slow = [(scale, band) for scale, band in self._pairs if isinstance(band, LaggedBand)]
        self._weights = weights
        self._value = 0.0
        self._has_news = False

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        self._value = value
        self.means.with_next(value)
        reading = self.reading
        news = not reading.low <= value <= reading.high
        if not news:
            for scale, band in self._pairs:
                if not band.low <= scale.mean <= band.high:
                    news = True
                    break
        self._has_news = news
        self.abruptness = 0.0
        return self._novelty(moment) if news else 0.0

    @property
    def short_mean(self) -> float:
        """The mean over the shortest length, with the reading whose evidence was asked last."""
        return self.means.scales[0].mean

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        seen = self.means.count + 1
        for scale, slow in self._slow:
            if seen >= slow.span:
                slow.observe(scale.mean, self.learnt, moment.step_s, moment.event_us)
        if self._has_news:
            self.reading.learn(self._value, self.learnt)
            for scale, band in self._pairs:
                if seen >= band.span and not isinstance(band, LaggedBand):
                    band.learn(scale.mean, self.learnt)
        self.means.push()
        self.learnt += 1

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.reading.relax(self._value, self.learnt, fade, memory)
        for scale, band in self._pairs:
            band.relax(scale.mean, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        self.reading.hold(self._value)
        for scale, band in self._pairs:
            band.hold(scale.mean)
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
        latest = [self._value, *[scale.mean for scale in self.means.scales]]
        for band, mean, weight in zip(self.bands, latest, self._weights, strict=True):
            if seen >= band.span and not band.low <= mean <= band.high:
                novelty = weight * band.novelty(mean, self.learnt, allowance, grain, least_width)
                if band.span <= _ABRUPT_SPAN:
                    abruptness += novelty
                else:
                    slow += novelty
        self.abruptness = abruptness
        return abruptness + slow


register_fields(LevelView, "level.2", "means", "bands", "learnt")
