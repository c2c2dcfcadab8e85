"""From a spec to a sensor's scorer: which views a model is made of."""

import services.scoring.river_state  # noqa: F401  River models can be stored only once it is imported
from services.scoring.one_pass import OnePassGaussian
from services.scoring.parts.pipeline import PartSpec, PipelineSpec
from services.scoring.sensor import SensorScorer
from services.scoring.spec import ModelSpec
from services.scoring.views.day import DayView
from services.scoring.views.level import LevelView
from services.scoring.views.pipeline import PipelineView
from services.scoring.views.river import RiverView
from services.scoring.views.run import RunView
from services.scoring.views.sequence import SequenceView
from services.scoring.views.spread import SpreadView
from services.scoring.views.view import View

_LENGTHS = (5, 20, 80)
_LEVEL = (1.47, 1.26, 0.84, 0.84)
_SHORT_LEVEL = (2.0, 1.26)
_SPREAD = 40
_SPREAD_WEIGHT = 0.37
_DAY = (0.74, 0.74)
_WEEK = (0.37, 1.47)
_SEQUENCE = 0.37
_RUN = 0.65
_GAUSSIAN = 0.37
"""Weights were fitted on the development half of NAB, then rounded: see docs/scoring.md."""

_WITHIN_8 = (("within", 8.0),)
_SHORT_WAYS = (
    ("gaussian", (PartSpec("level", _WITHIN_8),)),
    ("half_space_trees", (PartSpec("level", _WITHIN_8), PartSpec("change", _WITHIN_8))),
)
"""Models and features, scaled by `unit`, that `RiverView` has a kernel for."""


def build_sensor(spec: ModelSpec) -> SensorScorer:
    """A new scorer for one sensor, as `spec` describes it."""
    if spec.pipeline is not None:
        return SensorScorer(LevelView((5,), _SHORT_LEVEL), [_pipeline_view(spec.pipeline), RunView(_RUN)], spec.warm_up)
    if spec.name == "light":
        return SensorScorer(LevelView(_LENGTHS, _LEVEL), [RunView(_RUN)], spec.warm_up)
    others: list[View] = [
        SpreadView(_SPREAD, _SPREAD_WEIGHT),
        DayView(_DAY, weekend=False),
        DayView(_WEEK, weekend=True),
        SequenceView(_SEQUENCE),
        RunView(_RUN),
        RiverView(OnePassGaussian(), _GAUSSIAN),
    ]
    return SensorScorer(LevelView(_LENGTHS, _LEVEL), others, spec.warm_up)


def _pipeline_view(pipeline: PipelineSpec) -> View:
    """A `PipelineView`, or the view that says the same in less time, where there is one."""
    return RiverView(pipeline.build_model()) if _has_short_way(pipeline) else PipelineView(pipeline)


def may_break(spec: ModelSpec) -> bool:
    """Whether the model is one that can break and begin anew; see `PipelineView`."""
    return spec.pipeline is not None and not _has_short_way(spec.pipeline)


def _has_short_way(pipeline: PipelineSpec) -> bool:
    return pipeline.scaler.name == "unit" and (pipeline.model.name, pipeline.features) in _SHORT_WAYS
