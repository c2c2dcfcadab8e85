"""From a spec to a sensor's scorer: which views a model is made of."""

from river.anomaly import GaussianScorer, HalfSpaceTrees

import services.scoring.river_state  # noqa: F401  River models can be stored only once it is imported
from services.scoring.sensor import SensorScorer
from services.scoring.spec import ModelSpec
from services.scoring.views.day import DayView
from services.scoring.views.level import LevelView
from services.scoring.views.river import RiverView
from services.scoring.views.spread import SpreadView

_SCALES = (1, 5, 20, 80)
_SPREAD = 40
_BESIDE_LEVEL = 0.3
"""Weight of a River model that looks at the level as other views do: the same evidence must not count twice."""


def build_sensor(spec: ModelSpec) -> SensorScorer:
    """A new scorer for one sensor, as `spec` describes it."""
    if spec.name == "gaussian":
        return SensorScorer(LevelView((1,)), [RiverView(GaussianScorer())], spec.warm_up)
    if spec.name == "half_space_trees":
        trees = HalfSpaceTrees(n_trees=spec.trees, height=spec.height, window_size=spec.window, seed=1)
        return SensorScorer(LevelView(_SCALES[:2]), [DayView(), RiverView(trees)], spec.warm_up)
    return SensorScorer(
        LevelView(_SCALES), [SpreadView(_SPREAD), DayView(), RiverView(GaussianScorer(), _BESIDE_LEVEL)], spec.warm_up
    )
