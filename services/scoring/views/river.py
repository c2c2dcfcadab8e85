"""One of River's anomaly detectors, in its one-pass form, as a view."""

from math import log
from typing import Final

from services.scoring.band import Band
from services.scoring.kernel import Kernel
from services.scoring.one_pass import OnePassGaussian, OnePassTrees
from services.scoring.state import register_fields, require_registered
from services.scoring.views.view import Moment, View

_FAR: Final = 8.0
_LEAST: Final = 1e-12


def _kernel_of(model: OnePassGaussian | OnePassTrees) -> Kernel:
    return model.kernel if isinstance(model, OnePassGaussian) else model.grow("change", "level")


class RiverView(View):
    """Forgetting range of the surprise -ln(1 - s), s a River detector's score in [0, 1]; below the centre of ln(1 - s).

    Signed by its side, a well-fitted detector's surprise falls off like exp(-|x|) on both sides, as `Band` supposes.
    The detector sees the reading as deviations from the signal's centre, clamped to +-8 and mapped to [0, 1] (what
    HalfSpaceTrees demands), and the change since the last one likewise. What its scores mean is learnt from the scores,
    so any detector's 0.5 becomes the same alarm line. `weight` is its part in the evidence. Raises
    `ModelNotRegistered` for one whose state has no encoding.
    """

    __slots__ = ("_kernel", "_latest", "_level", "_weight", "band", "last", "learnt", "model")

    def __init__(self, model: OnePassGaussian | OnePassTrees, weight: float = 1.0) -> None:
        require_registered(model)
        self._weight = weight
        self.model = model
        self.band = Band(1, 100)
        self.learnt = 0
        self.last = 0.5
        self._kernel = _kernel_of(model)
        self._level = 0.5
        self._latest = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        away = moment.centre.scaled(value)
        if not -_FAR <= away <= _FAR:
            away = _FAR if away > 0.0 else -_FAR
        level = self._level = 0.5 + away / (2.0 * _FAR)
        ordinary = 1.0 - self._kernel.score(level, 0.5 + (level - self.last) / 2.0)
        surprise = -log(ordinary if ordinary > _LEAST else _LEAST)
        latest = self._latest = surprise if level >= 0.5 else -surprise
        band = self.band
        if band.low <= latest <= band.high:
            return 0.0
        return self._weight * band.novelty(latest, self.learnt, moment.allowance)

    def learn(self, moment: Moment) -> None:  # noqa: ARG002  a model has a memory of its own
        """Take it in; see `View`."""
        self._kernel.learn()
        self.last = self._level
        band = self.band
        latest = self._latest
        if not band.low <= latest <= band.high:
            band.learn(latest, self.learnt)
        self.learnt += 1

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.band.relax(self._latest, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        self.band.hold(self._latest)
        if not abrupt:
            self.last = self._level

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  only the level needs a centre
        """Forget the excursion; see `View`."""
        self.last = self._level

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)


register_fields(RiverView, "river.2", "model", "band", "last", "learnt")
