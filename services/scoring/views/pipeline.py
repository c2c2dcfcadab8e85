"""A configured pipeline `features | scaler | model` as a view."""

from math import isfinite, log, nan
from typing import Any

from river.base import SupervisedAnomalyDetector
from river.time_series.base import Forecaster

from services.scoring.band import Band
from services.scoring.parts.features import Feature
from services.scoring.parts.pipeline import PipelineSpec
from services.scoring.state import register_fields
from services.scoring.views.view import Moment, View

_SILENT = 100
_BREAKS = (ArithmeticError, ValueError, LookupError)
"""What a model's own arithmetic may raise: overflow, division by zero, the logarithm of nothing, a weight that is not
there."""


class PipelineView(View):
    """Forgetting range of what a River model says of a reading; what its scores mean is learnt from the scores.

    A score in [0, 1] counts as surprise -ln(1 - s), signed by the reading's side of the centre: so a well-fitted
    detector's falls off like exp(-|x|) on both sides, as `Band` supposes. Any other score counts as it is; a forecast
    (of the first feature, from the others) as reading less forecast. Scaler and model learn as in a River pipeline: the
    scaler first. The range begins once the model has settled.

    Resets: a model whose score is not finite, that fails by its arithmetic, or whose forecast lies farther outside the
    range of the readings than that is wide (gradient descent that diverges) will not recover by itself. It begins anew,
    with its scaler and its range, and the reading is no news and is not learnt. `resets` counts.
    """

    __slots__ = (
        "_is_forecaster",
        "_is_share",
        "_is_supervised",
        "_latest",
        "_settling",
        "_spec",
        "_target",
        "_x",
        "band",
        "features",
        "learnt",
        "model",
        "resets",
        "scaler",
    )

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self.resets = 0
        self.features: list[Feature] = []
        self._begin()

    def _begin(self) -> None:
        built = self._spec.build()
        if not self.features:
            self.features = built.features
        self.scaler, self.model = built.scaler, built.model
        self.band = Band(1, _SILENT)
        self.learnt = 0
        self._settling = built.settling
        self._is_share = built.is_share
        self._is_forecaster = isinstance(built.model, Forecaster)
        self._is_supervised = isinstance(built.model, SupervisedAnomalyDetector)
        self._target = next(iter(built.bounds))
        self._x: dict[str, float] = {}
        self._latest = 0.0

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is; see `View`."""
        level = moment.centre.scaled(value)
        x: dict[str, float] = {}
        for feature in self.features:
            feature.read(x, level, moment)
        self._x = x
        if self.learnt <= self._settling:
            self._latest = 0.0
            return 0.0
        latest = self._latest = self._said(x, level, moment)
        band = self.band
        if band.low <= latest <= band.high or not isfinite(latest):
            return 0.0
        return band.novelty(latest, self.learnt, moment.allowance)

    def learn(self, moment: Moment) -> None:  # noqa: ARG002  a model has a memory of its own
        """Take it in; see `View`."""
        if not self._survives() or not self._taught():
            return
        for feature in self.features:
            feature.learn()
        if self.learnt > self._settling and not self.band.low <= self._latest <= self.band.high:
            self.band.learn(self._latest, self.learnt)
        self.learnt += 1

    def relax(self, fade: float, memory: float) -> None:
        """Shrink; see `View`."""
        self.band.relax(self._latest, self.learnt, fade, memory)

    def hold(self, *, abrupt: bool) -> None:
        """Leave it out; see `View`."""
        if not self._survives():
            return
        self.band.hold(self._latest)
        if not abrupt:
            for feature in self.features:
                feature.learn()

    def recover(self, moment: Moment) -> None:  # noqa: ARG002  levels are deviations from the centre already
        """Forget the excursion; see `View`."""
        for feature in self.features:
            feature.recover()

    def release(self, part: float, widths: float) -> None:
        """See `Band.release`."""
        self.band.release(part, widths)

    def _said(self, x: dict[str, float], level: float, moment: Moment) -> float:
        """What the model says; not finite, where it is broken."""
        try:
            x = self.scaler.transform_one(x)
            if self._is_forecaster:
                return self._residual(x, moment)
            score: Any = self.model.score_one(None, x[self._target]) if self._is_supervised else self.model.score_one(x)
            if not self._is_share:
                return float(score)
            surprise = -log(max(1.0 - score, 1e-12))
        except _BREAKS:
            return nan
        return surprise if level >= 0.0 else -surprise

    def _residual(self, x: dict[str, float], moment: Moment) -> float:
        forecast = float(self.model.forecast(1, [self._foretold(x)])[0])
        low, high = moment.centre.scaled(moment.low), moment.centre.scaled(moment.high)
        beyond = max(high - low, 1.0)
        return x[self._target] - forecast if low - beyond <= forecast <= high + beyond else nan

    def _taught(self) -> bool:
        """Let scaler and model learn; whether the model survived it."""
        try:
            self.scaler.learn_one(self._x)
            x = self.scaler.transform_one(self._x)
            if self._is_forecaster:
                self.model.learn_one(x[self._target], self._foretold(x))
            elif self._is_supervised:
                self.model.learn_one(None, x[self._target])
            else:
                self.model.learn_one(x)
        except _BREAKS:
            self._reset()
            return False
        return True

    def _foretold(self, x: dict[str, float]) -> dict[str, float]:
        return {name: number for name, number in x.items() if name != self._target}

    def _survives(self) -> bool:
        if isfinite(self._latest):
            return True
        self._reset()
        return False

    def _reset(self) -> None:
        self._begin()
        self.resets += 1


register_fields(PipelineView, "pipeline.1", "features", "scaler", "model", "band", "learnt", "resets")
