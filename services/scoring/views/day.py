"""The time of day: is this unusual for now, though not for some other hour?"""

from array import array
from typing import Final

from services.scoring.band import Band
from services.scoring.rolling import Mean
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View

_BINS: Final = 48
_DAY_US: Final = 86_400_000_000
_BIN_US: Final = _DAY_US // _BINS
_EPOCH_WEEKDAY: Final = 4
_BIN_MEMORY_S: Final = 3000.0
_BIN_MEMORY_STEPS: Final = 10.0
_BIN_MEMORY_READINGS: Final = 10
_LENGTH: Final = 5
_SILENT: Final = 300


class DayView(View):
    """Forgetting ranges of the residual from a day profile (UTC, half-hour bins) and of its mean over 5 readings.

    A bin's mean follows the signal with a time constant of 50 minutes in that bin (ten readings, if those take longer):
    less than two days. A bin never met yet is taken to continue the one before. With `weekend`, Saturday and Sunday
    have a profile of their own. `weights`: of the residual, of its mean.
    """

    __slots__ = (
        "_away",
        "_bin",
        "_bin_from_us",
        "_first",
        "_has_news",
        "_mean",
        "_mean_weight",
        "_second",
        "_value",
        "_weekend",
        "_weight",
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
        self._first, self._second = self.bands
        self._weight, self._mean_weight = weights
        self._weekend = weekend
        self._bin = 0
        self._bin_from_us = -_BIN_US
        self._away = 0.0
        self._mean = 0.0
        self._value = 0.0
        self._has_news = False

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        event_us = moment.event_us
        if not self._bin_from_us <= event_us < self._bin_from_us + _BIN_US:
            self._find_bin(event_us)
        place = self._bin
        self._value = value
        if self.met[place]:
            residual = value - self.profile[place]
        elif self.met[place - 1]:
            residual = value - self.profile[place - 1]
        else:
            residual = value - moment.centre.mean
        mean = self.residual.with_next(residual)
        self._away = residual
        self._mean = mean
        first, second = self._first, self._second
        if first.low <= residual <= first.high and second.low <= mean <= second.high:
            self._has_news = False
            return 0.0
        self._has_news = True
        allowance, grain, least_width = moment.allowance, moment.grain, moment.least_width
        own = self._weight * first.novelty(residual, self.learnt, allowance, grain, least_width)
        return own + self._mean_weight * second.novelty(mean, self.learnt, allowance, grain, least_width)

    def _find_bin(self, event_us: int) -> None:
        bins = event_us // _BIN_US
        self._bin_from_us = bins * _BIN_US
        self._bin = bins % _BINS
        if self._weekend and (event_us // _DAY_US + _EPOCH_WEEKDAY) % 7 in (0, 6):
            self._bin += _BINS

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        if self._has_news:
            self._first.learn(self._away, self.learnt)
            self._second.learn(self._mean, self.learnt)
        self.learnt += 1
        self.residual.push()
        place = self._bin
        met = self.met[place]
        if met < _BIN_MEMORY_READINGS:
            met = self.met[place] = met + 1
        memory_s = _BIN_MEMORY_STEPS * moment.step_s
        follow = moment.elapsed_s / (memory_s if memory_s > _BIN_MEMORY_S else _BIN_MEMORY_S)
        least = 1.0 / met
        if follow < least:
            follow = least
        elif follow > 1.0:
            follow = 1.0
        usual = self.profile[place]
        self.profile[place] = usual + follow * (self._value - usual)

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self._first.relax(self._away, self.learnt, fade, memory)
        self._second.relax(self._mean, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        self._first.hold(self._away)
        self._second.hold(self._mean)
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
