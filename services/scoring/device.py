"""One device's scorer: a sensor scorer each, and what they say together."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from schemas.anomaly import Culprit
from schemas.telemetry import ModelState, SensorScore, Severity
from services.scoring.severity import severity_of
from services.scoring.spec import ModelSpec
from services.scoring.state import State, StateUnreadable


class DeviceScore(NamedTuple):
    """How unusual one message is for its device; see `schemas.telemetry.Score` for the fields."""

    score: float
    alarm_score: float
    severity: Severity
    state: ModelState
    progress: float
    sensors: dict[str, SensorScore]


class DeviceScorer:
    """Scores, then learns, one device's readings."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._ranges: dict[str, list[float]] = {}
        self._latest: list[tuple[str, float, float, float, float]] = []

    def update(
        self, event_us: int, values: Mapping[str, float], *, learn: bool = True, stuck: Collection[str] = ()
    ) -> DeviceScore:
        """Score the readings of one message at `event_us` (unix µs), then learn them."""
        sensors: dict[str, SensorScore] = {}
        self._latest = []
        progress = 0.0
        for sensor, value in values.items():
            known = self._ranges.get(sensor)
            if known is None:
                if len(self._ranges) >= self._spec.max_sensors:
                    continue
                known = self._ranges[sensor] = [0, value, value]
            count, low, high = known
            ready = count >= self._spec.warm_up
            progress = max(progress, min(1.0, count / self._spec.warm_up))
            excess = max(value / 2 - high / 2, low / 2 - value / 2, 0.0)
            unusual = excess / (excess + 0.17 * (high / 2 - low / 2)) if ready and excess and high > low else 0.0
            sensors[sensor] = SensorScore(unusual, unusual, low if ready else None, high if ready else None)
            self._latest.append((sensor, unusual, value, low, high))
            if learn and sensor not in stuck and unusual < 0.5:
                known[:] = (count + 1, min(low, value), max(high, value))
        score = max((s.score for s in sensors.values()), default=0.0)
        state = ModelState.READY if progress >= 1.0 else ModelState.LEARNING
        return DeviceScore(score, score, severity_of(score), state, progress, sensors)

    def culprits(self) -> list[Culprit]:
        """Who made the latest update's score: largest share first; the shares sum to 1 unless nothing was unusual."""
        total = sum(unusual for _, unusual, *_ in self._latest)
        if not total:
            return []
        found = [Culprit(name, unusual / total, value, low, high) for name, unusual, value, low, high in self._latest]
        return sorted((c for c in found if c.share > 0), key=lambda c: (-c.share, c.sensor))

    def to_state(self) -> State:
        """What this scorer has learnt."""
        return ["scorer.0", [[sensor, *known] for sensor, known in sorted(self._ranges.items())]]

    @classmethod
    def from_state(cls, spec: ModelSpec, state: State) -> "DeviceScorer":
        """The scorer that `to_state` described; raises `StateUnreadable`."""
        if not isinstance(state, list) or state[:1] != ["scorer.0"]:
            raise StateUnreadable("not the state of this version of the scorer")
        scorer = cls(spec)
        scorer._ranges = {sensor: known for sensor, *known in state[1]}
        return scorer
