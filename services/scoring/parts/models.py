"""River's models on offer, each with parameters that keep its time and memory bounded."""

from typing import Any

from river.anomaly import LODA, OneClassSVM, StandardAbsoluteDeviation
from river.linear_model import LinearRegression
from river.optim import SGD
from river.preprocessing import StandardScaler
from river.time_series import SNARIMAX, HoltWinters

import services.scoring.parts.model_state
import services.scoring.river_state  # noqa: F401  River's models can be stored only once both are imported
from services.scoring.one_pass import OnePassGaussian, OnePassTrees
from services.scoring.parts.registry import Model, Parameter, offer

_SEED = 1
_LONGEST_SEASON = 1_440
_MOST_SEASONAL_LAGS = 300
_SCALES = ({"name": "level"}, {"name": "mean", "readings": 5}, {"name": "mean", "readings": 20}, {"name": "spread"})
_UNBOUNDED = {"name": "level", "within": 1_000.0}
"""A forecaster has to follow a signal that wanders."""


def _trees(trees: int, height: int, window: int) -> OnePassTrees:
    return OnePassTrees(n_trees=trees, height=height, window_size=window, seed=_SEED)


def _loda(cuts: int, bins: int) -> LODA:
    return LODA(n_random_cuts=cuts, n_bins=bins, seed=_SEED)


def _svm(nu: float, learning_rate: float) -> OneClassSVM:
    return OneClassSVM(nu=nu, optimizer=SGD(learning_rate), intercept_lr=learning_rate)


def _holt_winters(alpha: float, beta: float, gamma: float, season: int) -> HoltWinters:
    if season == 1:
        raise ValueError("season must be 0 (none) or at least 2 readings")
    if season and not (beta and gamma):
        raise ValueError("beta and gamma must be over 0 where there is a season")
    return HoltWinters(alpha=alpha, beta=beta or None, gamma=gamma if season else None, seasonality=season)


def _snarimax(*, season: int, learning_rate: float, **orders: int) -> SNARIMAX:
    if season * max(orders["sp"], orders["sd"], orders["sq"]) > _MOST_SEASONAL_LAGS:
        raise ValueError(f"season x (sp, sd, sq) must be {_MOST_SEASONAL_LAGS} readings at most")
    if not any(orders[order] for order in ("p", "q", "sp", "sq")):
        raise ValueError("one of p, q, sp, sq must be over 0")
    regressor: Any = StandardScaler() | LinearRegression(optimizer=SGD(learning_rate), intercept_lr=learning_rate)
    return SNARIMAX(m=season, regressor=regressor, **orders)


_LEARNING_RATE = Parameter(0.01, 1e-5, 0.5, "step of the gradient descent")

for _part in (
    Model(
        name="gaussian",
        says="River's GaussianScorer: how far in the tails of a normal distribution",
        build=OnePassGaussian,
        scaler="unit",
        is_share=True,
    ),
    Model(
        name="half_space_trees",
        says="River's HalfSpaceTrees (Tan, Ting, Liu 2011)",
        build=_trees,
        parameters={
            "trees": Parameter(5, 1, 100, "how many"),
            "height": Parameter(4, 1, 12, "of each tree; memory doubles with each"),
            "window": Parameter(100, 10, 65_000, "readings after which what was counted becomes the reference"),
        },
        features=({"name": "level"}, {"name": "change"}),
        scaler="unit",
        is_share=True,
    ),
    Model(
        name="loda",
        says="River's LODA (Pevný 2016): histograms of random projections",
        build=_loda,
        parameters={"cuts": Parameter(20, 1, 200, "random projections"), "bins": Parameter(10, 2, 100, "of each")},
        features=_SCALES,
        settling=200,
    ),
    Model(
        name="one_class_svm",
        says="River's OneClassSVM, by gradient descent",
        build=_svm,
        parameters={
            "nu": Parameter(0.1, 1e-4, 1.0, "share of readings that may lie outside"),
            "learning_rate": _LEARNING_RATE,
        },
        features=_SCALES,
        scaler="standard",
        settling=200,
    ),
    Model(
        name="standard_absolute_deviation",
        says="River's StandardAbsoluteDeviation: standard deviations from the mean",
        build=StandardAbsoluteDeviation,
        settling=50,
    ),
    Model(
        name="snarimax",
        says="River's SNARIMAX: how far the reading lies from its forecast",
        build=_snarimax,
        parameters={
            "p": Parameter(8, 0, 100, "lags"),
            "d": Parameter(0, 0, 2, "times that the signal is differenced"),
            "q": Parameter(2, 0, 100, "lags of errors"),
            "season": Parameter(1, 1, _MOST_SEASONAL_LAGS, "readings"),
            "sp": Parameter(0, 0, 10, "lags by whole seasons"),
            "sd": Parameter(0, 0, 2, "times that the signal is differenced by a season"),
            "sq": Parameter(0, 0, 10, "lags of errors by whole seasons"),
            "learning_rate": _LEARNING_RATE,
        },
        features=(_UNBOUNDED,),
        settling=200,
    ),
    Model(
        name="holt_winters",
        says="River's HoltWinters (exponential smoothing): how far the reading lies from its forecast",
        build=_holt_winters,
        parameters={
            "alpha": Parameter(0.3, 0.001, 1.0, "of the level"),
            "beta": Parameter(0.0, 0.0, 1.0, "of the trend; 0: none"),
            "gamma": Parameter(0.1, 0.0, 1.0, "of the season"),
            "season": Parameter(0, 0, _LONGEST_SEASON, "readings; 0: none"),
        },
        features=(_UNBOUNDED,),
        settling=100,
    ),
):
    offer(_part)
