"""One device's scorer: a sensor scorer each, one budget, and what they say together."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec
import river

from schemas.anomaly import Culprit
from schemas.telemetry import ModelState, SensorScore, Severity
from services.scoring.build import build_sensor
from services.scoring.calibration import WEEK_S, Budget, score_of
from services.scoring.sensor import SensorScorer
from services.scoring.severity import ALARM_LINE, severity_of
from services.scoring.spec import ModelSpec
from services.scoring.state import State, StateUnreadable, encode, restore

_VERSION = "weir.scorer.1"


class DeviceScore(NamedTuple):
    """How unusual one message is for its device; see `schemas.telemetry.Score` for the fields."""

    score: float
    alarm_score: float
    severity: Severity
    state: ModelState
    progress: float
    sensors: dict[str, SensorScore]


class DeviceScorer:
    """One device's scorer: one `SensorScorer` a sensor, created when the sensor first speaks; at most `max_sensors`.

    The device's score is its most unusual sensor's; its false-alarm budget is shared out evenly among its sensors. The
    device is ready when any sensor is.
    """

    __slots__ = ("_budget", "_latest", "_sensors", "_spec")

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._budget = Budget(spec.alarms_per_week)
        self._sensors: dict[str, SensorScorer] = {}
        self._latest: list[str] = []

    def update(
        self, event_us: int, values: Mapping[str, float], *, learn: bool = True, stuck: Collection[str] = ()
    ) -> DeviceScore:
        """Score the readings of one message at `event_us` (unix µs), then learn them.

        `values` are finite. Nothing is learnt with `learn=False` (late, replayed), nor from sensors in `stuck`.
        """
        known = self._sensors
        for name in values:
            if name not in known:
                self._meet(values)
                break
        line = self._budget.line(event_us)
        alarms_per_second = self._spec.alarms_per_week / (WEEK_S * max(1, len(known)))
        device_score = device_alarm = progress = 0.0
        scores: dict[str, SensorScore] = {}
        for name, value in values.items():
            sensor = known.get(name)
            if sensor is None:
                continue
            learnable = learn and (not stuck or name not in stuck)
            evidence = sensor.update(event_us, value, line, alarms_per_second, learn=learnable)
            score = score_of(evidence, line)
            alarm = sensor.alarm_score(score)
            low, high = sensor.expected
            scores[name] = SensorScore(score, alarm, low, high)
            if score > device_score:
                device_score = score
            if alarm > device_alarm:
                device_alarm = alarm
            if progress < 1.0:
                progress = max(progress, sensor.progress)
        if device_alarm >= ALARM_LINE:
            self._budget.spend(event_us)
        self._latest = list(scores)
        state = ModelState.READY if progress >= 1.0 else ModelState.LEARNING
        return DeviceScore(device_score, device_alarm, severity_of(device_score), state, progress, scores)

    def culprits(self) -> list[Culprit]:
        """Who made the latest update's score: by share of the evidence, largest first; none when nothing was."""
        latest = [(name, self._sensors[name]) for name in sorted(self._latest)]
        total = sum(sensor.evidence for _, sensor in latest)
        found = [
            Culprit(name, sensor.evidence / total, sensor.value, *sensor.expected)
            for name, sensor in latest
            if sensor.evidence > 0.0
        ]
        return sorted(found, key=lambda culprit: -culprit.share)

    def to_state(self) -> State:
        """What this scorer has learnt; the same readings give the same state."""
        sensors = [[name, encode(sensor)] for name, sensor in sorted(self._sensors.items())]
        return [_VERSION, river.__version__, _fingerprint(self._spec), encode(self._budget), sensors]

    @classmethod
    def from_state(cls, spec: ModelSpec, state: State) -> "DeviceScorer":
        """The scorer that `to_state` described, scoring alike for ever; raises `StateUnreadable`."""
        match state:
            case [str(version), str(river_version), list(fingerprint), list(budget), list(sensors)]:
                pass
            case _:
                raise StateUnreadable("not the state of a scorer")
        expected = [_VERSION, river.__version__, _fingerprint(spec)]
        if [version, river_version, fingerprint] != expected:
            raise StateUnreadable(f"written by {version}, River {river_version}, for another version or spec")
        scorer = cls(spec)
        restore(scorer._budget, budget)
        for entry in sensors:
            match entry:
                case [str(name), list(learnt)]:
                    sensor = scorer._sensors[name] = build_sensor(spec)
                    restore(sensor, learnt)
                case _:
                    raise StateUnreadable("a sensor's state is a name and what it has learnt")
        return scorer

    def _meet(self, values: Mapping[str, float]) -> None:
        for name in sorted(values.keys() - self._sensors.keys()):
            if len(self._sensors) < self._spec.max_sensors:
                self._sensors[name] = build_sensor(self._spec)


def _fingerprint(spec: ModelSpec) -> list[State]:
    return [*msgspec.structs.astuple(spec)]
