"""Weir's scorer as a River estimator, so that it drops into River's pipelines, metrics and comparisons."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from river.base import AnomalyDetector

from services.scoring.device import DeviceScore, DeviceScorer
from services.scoring.spec import DEFAULT_SPEC, ModelSpec


class DeviceDetector(AnomalyDetector):  # type: ignore[misc]  # River is untyped here
    """One device's detector: each feature is a sensor, 0.5 is the alarm line.

    `score_one` says what `learn_one` would have scored, and changes nothing; `update` does both in one pass, as
    the stream does. Features that are not finite numbers are left out.

    Parameters
    ----------
    model
        Name of the model, or its description, as in `device_types.yaml`; see `ModelSpec.parse`.
    alarms_per_week
        The false-alarm budget.
    warm_up
        Readings of a sensor that are learnt before it may alarm.
    time
        The feature that holds the event time, in seconds since 1970. Without it, or where a reading has none, a reading
        counts as one second after the one before.

    Examples:
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> detector = DeviceDetector(time="t")
    >>> for t in range(300):
    ...     detector.learn_one({"t": t, "temperature": rng.gauss(20, 1)})
    >>> detector.score_one({"t": 300, "temperature": 20.5})
    0.0
    >>> detector.score_one({"t": 300, "temperature": 40.0}) > 0.5
    True

    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = DEFAULT_SPEC.name,
        alarms_per_week: float = DEFAULT_SPEC.alarms_per_week,
        warm_up: int = DEFAULT_SPEC.warm_up,
        time: str | None = None,
    ) -> None:
        self.model = model
        self.alarms_per_week = alarms_per_week
        self.warm_up = warm_up
        self.time = time
        self._latest_us = 0
        self._scorer = DeviceScorer(self._spec())

    def __getstate__(self) -> dict[str, Any]:
        # Compiled scorers cannot be pickled, and their state is versioned in any case.
        return {**self.__dict__, "_scorer": self._scorer.to_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scorer = DeviceScorer.from_state(self._spec(), state["_scorer"])

    def _spec(self) -> ModelSpec:
        described = {"name": self.model} if isinstance(self.model, str) else self.model
        return ModelSpec.parse({"alarms_per_week": self.alarms_per_week, "warm_up": self.warm_up, **described})

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"model": "light"}
        yield {"model": {"features": ["level", "change"], "scaler": "standard", "model": "one_class_svm"}}

    def score_one(self, x: dict[Any, Any]) -> float:
        """The score of a reading, in [0, 1]; nothing is learnt."""
        return self._scorer.score(self._event_us(x), self._readings(x)).score

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Learn a reading."""
        self.update(x)

    def update(self, x: dict[Any, Any]) -> DeviceScore:
        """Score a reading, then learn it."""
        self._latest_us = event_us = self._event_us(x)
        return self._scorer.update(event_us, self._readings(x))

    def _event_us(self, x: dict[Any, Any]) -> int:
        known = x.get(self.time) if self.time is not None else None
        return self._latest_us + 1_000_000 if known is None else round(known * 1e6)

    def _readings(self, x: dict[Any, Any]) -> dict[str, float]:
        return {
            str(name): float(value)
            for name, value in x.items()
            if name != self.time and isinstance(value, (int, float)) and isfinite(value)
        }
