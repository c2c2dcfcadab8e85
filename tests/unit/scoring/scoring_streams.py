"""Signals for scoring tests: seeded, at one reading a second unless said."""

import random
from collections.abc import Iterable, Iterator

from services.scoring.device import DeviceScore, DeviceScorer
from services.scoring.spec import MODELS, ModelSpec

START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
SPECS: dict[str, dict[str, object]] = {name: {"name": name} for name in MODELS} | {
    "all features": {
        "features": ["level", "change", "lags", {"name": "mean", "readings": 5}, "mean", "spread", "time_of_day"],
        "scaler": "standard",
        "model": "one_class_svm",
    },
    "min_max": {
        "features": ["level", {"name": "spread", "readings": 10}, "time_of_week"],
        "scaler": "min_max",
        "model": {"name": "half_space_trees", "trees": 3, "height": 5, "window": 40},
    },
    "seasonal": {
        "features": [{"name": "level", "within": 50}, "time_of_day"],
        "model": {"name": "snarimax", "p": 2, "d": 1, "q": 1, "season": 6, "sp": 1, "sq": 1},
    },
    "trend and season": {"name": "holt_winters", "beta": 0.1, "gamma": 0.2, "season": 12},
}
"""Every model on offer, and pipelines that between them use every part."""


def spec_of(name: str, **shared: float) -> ModelSpec:
    return ModelSpec.parse(SPECS[name] | shared)


class Feed:
    """A device scorer with a clock that moves on by `step_s` with each reading of its one sensor `temperature`."""

    def __init__(self, spec: ModelSpec | None = None, step_s: float = 1.0) -> None:
        self.scorer = DeviceScorer(spec or ModelSpec())
        self.step_us = round(step_s * SECOND_US)
        self.now_us = START_US

    def one(self, value: float, **options: object) -> DeviceScore:
        self.now_us += self.step_us
        return self.scorer.update(self.now_us, {"temperature": value}, **options)

    def all(self, values: Iterable[float]) -> list[DeviceScore]:
        return [self.one(value) for value in values]


def noise(count: int, seed: int, mean: float = 20.0, deviation: float = 1.0) -> Iterator[float]:
    rng = random.Random(seed)
    return (rng.gauss(mean, deviation) for _ in range(count))


def warm(seed: int, spec: ModelSpec | None = None, readings: int = 600) -> Feed:
    """A device that has sent `readings` of clean noise: mean 20, standard deviation 1."""
    feed = Feed(spec)
    feed.all(noise(readings, seed))
    return feed


def alarms(scores: Iterable[DeviceScore]) -> int:
    return sum(score.alarm_score >= 0.5 for score in scores)
