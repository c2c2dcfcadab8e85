"""The hour of the day: is this unusual for now, though not for some other hour?"""

from array import array

from services.scoring.band import Band
from services.scoring.rolling import Means
from services.scoring.state import stored
from services.scoring.views.view import Moment

_BINS = 48
_BIN_US = 86_400_000_000 // _BINS
_BIN_MEMORY_S = 3000.0
_BIN_MEMORY_STEPS = 10.0
_LENGTHS = (1, 5, 20)


@stored("day.1", "profile", "met", "means", "bands")
class DayView:
    """Forgetting ranges of the residual from a day profile (UTC, half-hour bins), itself and its means over 5 and 20.

    A bin's mean follows the signal with a time constant of 50 minutes in that bin (ten readings, if those take longer):
    less than two days. A bin never met yet is taken to continue the one before.
    """

    __slots__ = ("_bin", "_latest", "_value", "bands", "means", "met", "profile")

    def __init__(self) -> None:
        self.profile = array("d", [0.0]) * _BINS
        self.met = array("d", [0.0]) * _BINS
        self.means = Means(_LENGTHS)
        self.bands = [Band(length, 300) for length in _LENGTHS]
        self._bin = 0
        self._latest: list[float] = []
        self._value = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        place = self._bin = moment.event_us // _BIN_US % _BINS
        self._value = value
        residual = value - self.profile[place if self.met[place] else place - 1]
        self._latest = latest = self.means.with_next(residual)
        allowance, grain, least_width = moment.allowance, moment.grain, moment.least_width
        found = 0.0
        for band, mean in zip(self.bands, latest, strict=False):
            if not band.low <= mean <= band.high:
                found += band.novelty(mean, allowance, grain, least_width)
        return found

    def learn(self, moment: Moment) -> None:
        """Take it in; see `View`."""
        fade, memory = moment.fade, moment.memory
        for band, mean in zip(self.bands, self._latest, strict=False):
            band.learn(mean, fade, memory)
        self.means.push()
        place = self._bin
        met = self.met[place] = self.met[place] + 1.0
        follow = moment.elapsed_s / max(_BIN_MEMORY_S, _BIN_MEMORY_STEPS * moment.step_s)
        self.profile[place] += max(1.0 / met, min(1.0, follow)) * (self._value - self.profile[place])

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        for band, mean in zip(self.bands, self._latest, strict=False):
            band.hold(mean)
        if not abrupt:
            self.means.push()

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  only the level needs a centre
        """Forget the excursion; see `View`."""
        self.means.fill(0.0)

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        for band in self.bands:
            band.release(part, widths)
