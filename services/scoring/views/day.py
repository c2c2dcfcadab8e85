"""The time of day: is this unusual for now, though not for some other hour?"""

from array import array

from services.scoring.band import Band
from services.scoring.rolling import Mean
from services.scoring.state import register_fields
from services.scoring.views.view import Moment

_BINS = 48
_DAY_US = 86_400_000_000
_BIN_US = _DAY_US // _BINS
_EPOCH_WEEKDAY = 4
_BIN_MEMORY_S = 3000.0
_BIN_MEMORY_STEPS = 10.0
_LENGTH = 5
_SILENT = 300


class DayView:
    """Forgetting ranges of the residual from a day profile (UTC, half-hour bins) and of its mean over 5 readings.

    A bin's mean follows the signal with a time constant of 50 minutes in that bin (ten readings, if those take longer):
    less than two days. A bin never met yet is taken to continue the one before. With `weekend`, Saturday and Sunday
    have a profile of their own. `weights`: of the residual, of its mean.
    """

    __slots__ = (
        "_bin",
        "_has_news",
        "_latest",
        "_value",
        "_weekend",
        "_weights",
        "bands",
        "learnt",
        "met",
        "profile",
        "residual",
    )

    def __init__(self, weights: tuple[float, float], *, weekend: bool) -> None:
        bins = 2 * _BINS if weekend else _BINS
        self.profile = array("d", [0.0]) * bins
        self.met = array("H", [0]) * bins
        self.residual = Mean(_LENGTH)
        self.bands = [Band(1, _SILENT), Band(_LENGTH, _SILENT)]
        self.learnt = 0
        self._weights = weights
        self._weekend = weekend
        self._bin = 0
        self._latest = (0.0, 0.0)
        self._value = 0.0
        self._has_news = False

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        event_us = moment.event_us
        place = event_us // _BIN_US % _BINS
        if self._weekend and (event_us // _DAY_US + _EPOCH_WEEKDAY) % 7 in (0, 6):
            place += _BINS
        self._bin = place
        self._value = value
        if self.met[place]:
            residual = value - self.profile[place]
        elif self.met[place - 1]:
            residual = value - self.profile[place - 1]
        else:
            residual = value - moment.centre.mean
        mean = self.residual.with_next(residual)
        self._latest = (residual, mean)
        first, second = self.bands
        if first.low <= residual <= first.high and second.low <= mean <= second.high:
            self._has_news = False
            return 0.0
        self._has_news = True
        allowance, grain, least_width = moment.allowance, moment.grain, moment.least_width
        return self._weights[0] * first.novelty(residual, self.learnt, allowance, grain, least_width) + self._weights[
            1
        ] * second.novelty(mean, self.learnt, allowance, grain, least_width)

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        if self._has_news:
            for band, mean in zip(self.bands, self._latest, strict=True):
                band.learn(mean, self.learnt)
        self.learnt += 1
        self.residual.push()
        place = self._bin
        met = self.met[place]
        if met < _BIN_MEMORY_STEPS:
            met = self.met[place] = met + 1
        follow = moment.elapsed_s / max(_BIN_MEMORY_S, _BIN_MEMORY_STEPS * moment.step_s)
        self.profile[place] += max(1.0 / met, min(1.0, follow)) * (self._value - self.profile[place])

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=False):
            band.relax(mean, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=True):
            band.hold(mean)
        if not abrupt:
            self.residual.push()

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  only the level needs a centre
        """Forget the excursion; see `View`."""
        self.residual.fill(0.0)

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        for band in self.bands:
            band.release(part, widths)


register_fields(DayView, "day.2", "profile", "met", "residual", "bands", "learnt")
