"""One device's scorer: a sensor scorer each, a joint scorer, one budget, and what they say together."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import river

import services.scoring.joint_state  # noqa: F401 - a joint scorer can be stored only once it is imported
from schemas.anomaly import Culprit
from schemas.telemetry import ModelState, SensorScore, Severity
from services.scoring.build import build_sensor, may_break
from services.scoring.calibration import WEEK_S, Budget, Quiet, score_of
from services.scoring.joint import JointScorer
from services.scoring.prior import TEACHES_AFTER, TypePrior
from services.scoring.regime import adopted_after
from services.scoring.sensor import SensorScorer
from services.scoring.severity import ALARM_LINE, severity_of
from services.scoring.spec import ModelSpec
from services.scoring.state import State, StateUnreadable, encode, restore
from services.scoring.views.pipeline import PipelineView

_VERSION = "weir.scorer.2"
_JOINT_SHARE = 0.2
_OPEN_GATE = 5.0
_LEAST_TOGETHER = 2
_LEAST_ORDINARY = 1e-12
"""A joint score may round to 1; how ordinary it is must not round to nothing."""


class DeviceScore(NamedTuple):
    """How unusual one message is for its device; see `schemas.telemetry.Score` for the fields.

    `adopted`: sensors whose new regime became normal with this message (see `Regime`). `resets`: River models that
    broke with this message and began anew (see `PipelineView`). `is_held`: the score is one of a sensor that the
    message lacks (see `SensorScorer.held`); it tells nothing new.
    """

    score: float
    alarm_score: float
    severity: Severity
    state: ModelState
    progress: float
    sensors: dict[str, SensorScore]
    adopted: tuple[str, ...] = ()
    resets: int = 0
    is_held: bool = False


class Adoption(NamedTuple):
    """A new regime that became normal: the sensor's range before and now, and how long the change had lasted."""

    old_low: float
    old_high: float
    new_low: float | None
    new_high: float | None
    after_s: float


class DeviceScorer:
    """One device's scorer: one `SensorScorer` a sensor, created when the sensor first speaks; at most `max_sensors`.

    The device's score is the larger of its most unusual sensor's and its sensors' together; its false-alarm budget is
    shared out evenly among its sensors. The device is ready when any sensor is. A sensor that a message lacks keeps its
    score for a while, so that an open anomaly does not close because one message lacks one field; it raises no alarm.
    """

    __slots__ = ("_budget", "_joint", "_joint_quiet", "_latest", "_may_break", "_pupils", "_sensors", "_spec")

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._may_break = may_break(spec)
        self._budget = Budget(spec.alarms_per_week)
        self._sensors: dict[str, SensorScorer] = {}
        self._joint = JointScorer() if spec.name == "bands" else None
        self._joint_quiet = Quiet()
        self._latest: list[str] = []
        self._pupils: list[str] = []

    def update(
        self,
        event_us: int,
        values: Mapping[str, float],
        *,
        learn: bool = True,
        left_out: Collection[str] = (),
        prior: TypePrior | None = None,
    ) -> DeviceScore:
        """Score the readings of one message at `event_us` (unix µs), then learn them.

        `values` are finite. Nothing is learnt with `learn=False` (late, replayed), nor from sensors in `left_out` (a
        newer reading was seen before). `prior`: of the device's type; it also learns from this device.
        """
        known = self._sensors
        if learn:
            for name in values:
                if name not in known:
                    self._meet(values, prior)
                    break
        before = self._resets(values) if self._may_break else 0
        score = self._judge(event_us, values, learn=learn, left_out=left_out, look_together=learn)
        if learn and prior is not None and self._pupils:
            self._teach(prior)
        if not self._may_break:
            return score
        resets = self._resets(values) - before
        return score._replace(resets=resets) if resets else score

    def _judge(
        self, event_us: int, values: Mapping[str, float], *, learn: bool, left_out: Collection[str], look_together: bool
    ) -> DeviceScore:
        known = self._sensors
        line = self._budget.line(event_us)
        frequent = self._budget.is_overdrawn(event_us)
        alarms_per_second = self._spec.alarms_per_week / (WEEK_S * max(1, len(known)))
        device_score = device_alarm = progress = loudest = 0.0
        scores: dict[str, SensorScore] = {}
        adopted: tuple[str, ...] = ()
        for name, value in values.items():
            sensor = known.get(name)
            if sensor is None:
                continue
            learnable = learn and (not left_out or name not in left_out)
            sensor.update(event_us, value, line, alarms_per_second, learn=learnable, frequent=frequent)
            found = scores[name] = sensor.report(line)
            if sensor.adopted:
                adopted = (*adopted, name)
            if found.score > device_score:
                device_score = found.score
            if found.alarm_score > device_alarm:
                device_alarm = found.alarm_score
                loudest = sensor.fresh
            if progress < 1.0:
                progress = max(progress, sensor.progress)
        joint = self._joint
        if joint is not None:
            joint.score = 0.0
        if joint is not None and look_together and len(scores) >= _LEAST_TOGETHER:
            open_gate = self._budget.spent(event_us) >= _OPEN_GATE
            allowance = _JOINT_SHARE * alarms_per_second
            joint.update(event_us, values, left_out, allowance, learn=learn, open_gate=open_gate)
            together = score_of(joint.evidence, line)
            pace = joint.pace
            alarm = self._joint_quiet.alarm_score(together, joint.evidence, pace.elapsed_s, pace.step_s)
            device_score = max(device_score, joint.score)
            device_alarm = max(device_alarm, min(alarm, device_score))
        if device_alarm >= ALARM_LINE:
            self._budget.spend(event_us, loudest)
        is_held = False
        if len(scores) < len(known):
            held = score_of(self._held(event_us, scores), line)
            is_held = held > device_score
            device_score = max(device_score, held)
        self._latest = list(scores)
        state = ModelState.READY if progress >= 1.0 else ModelState.LEARNING
        severity = severity_of(device_score)
        return DeviceScore(device_score, device_alarm, severity, state, progress, scores, adopted, 0, is_held)

    def _held(self, event_us: int, scores: Mapping[str, SensorScore]) -> float:
        evidence = 0.0
        for name, sensor in self._sensors.items():
            if sensor.standing > evidence and name not in scores:
                evidence = max(evidence, sensor.held(event_us))
        return evidence

    def score(self, event_us: int, values: Mapping[str, float]) -> DeviceScore:
        """What `update` would say of these readings; nothing is learnt and nothing changes."""
        marks = [(sensor, sensor.mark()) for name, sensor in self._sensors.items() if name in values]
        budget, quiet, joint = self._budget, self._joint_quiet, self._joint
        before = budget.alarms, budget.latest_us, quiet.left_s, quiet.ongoing, quiet.loudest
        pace = (joint.pace.latest_us, joint.pace.step_s) if joint is not None else (0, 1.0)
        score = self._judge(event_us, values, learn=False, left_out=(), look_together=True)
        for sensor, mark in marks:
            sensor.back_to(mark)
        budget.alarms, budget.latest_us, quiet.left_s, quiet.ongoing, quiet.loudest = before
        if joint is not None:
            joint.pace.latest_us, joint.pace.step_s = pace
        return score

    @property
    def progress(self) -> float:
        """How far learning has come, in [0, 1], in the sensor that has come farthest."""
        return max((sensor.progress for sensor in self._sensors.values()), default=0.0)

    @property
    def together(self) -> float:
        """How unusual the latest readings are together, in [0, 1]: the part of its score that is no sensor's own."""
        return self._joint.score if self._joint is not None else 0.0

    def adoption(self, name: str) -> Adoption:
        """Of a sensor that the latest update named as `adopted`."""
        sensor = self._sensors[name]
        regime = sensor.regime
        low, high = sensor.expected
        return Adoption(regime.low, regime.high, low, high, adopted_after(sensor.pace.step_s))

    def forget(self, name: str) -> None:
        """Let a sensor learn anew, and with it what the sensors are together; the budget stays as it is spent."""
        self._sensors.pop(name, None)
        self._pupils = [pupil for pupil in self._pupils if pupil != name]
        if self._joint is not None:
            self._joint = JointScorer()
            self._joint_quiet = Quiet()

    def culprits(self) -> list[Culprit]:
        """Who made the latest update's score: by share of the evidence, largest first; none when nothing was.

        A sensor's evidence is its own, and its part in that of all together (see `hotelling.blame_of`). Shares lie in
        (0, 1] and add up to 1, whatever was read. Sensors that the message lacks are not named: nothing was read.
        """
        evidence = {name: self._sensors[name].evidence for name in self._latest}
        joint = self._joint
        if joint is not None and joint.score > 0.0:
            together = joint.score / max(1.0 - joint.score, _LEAST_ORDINARY)
            for name, part in joint.blame().items():
                evidence[name] = evidence.get(name, 0.0) + together * part
        whole = sum(evidence[name] for name in sorted(evidence))
        found = []
        for name in sorted(evidence):
            if evidence[name] > 0.0:
                sensor = self._sensors[name]
                found.append(Culprit(name, evidence[name] / whole, sensor.value, *sensor.expected))
        return sorted(found, key=lambda culprit: -culprit.share)

    def to_state(self) -> State:
        """What this scorer has learnt; the same readings give the same state."""
        sensors = [[name, encode(sensor)] for name, sensor in sorted(self._sensors.items())]
        return [
            _VERSION,
            river.__version__,
            self._spec.fingerprint(),
            encode(self._budget),
            sensors,
            *self._joint_state(),
        ]

    def _joint_state(self) -> list[State]:
        return [] if self._joint is None else [encode(self._joint), encode(self._joint_quiet)]

    @classmethod
    def from_state(cls, spec: ModelSpec, state: State) -> "DeviceScorer":
        """The scorer that `to_state` described, scoring alike for ever; raises `StateUnreadable`."""
        match state:
            case [str(version), str(river_version), list(fingerprint), list(budget), list(sensors), *together]:
                pass
            case _:
                raise StateUnreadable("not the state of a scorer")
        expected = [_VERSION, river.__version__, spec.fingerprint()]
        if [version, river_version, fingerprint] != expected:
            raise StateUnreadable(f"written by {version}, River {river_version}, for another version or spec")
        scorer = cls(spec)
        restore(scorer._budget, budget)
        match together:
            case [] if scorer._joint is None:
                pass
            case [joint, quiet] if scorer._joint is not None:
                restore(scorer._joint, joint)
                restore(scorer._joint_quiet, quiet)
            case _:
                raise StateUnreadable("a device's sensors together are a joint scorer and its quiet rule")
        for entry in sensors:
            match entry:
                case [str(name), list(learnt)]:
                    sensor = scorer._sensors[name] = build_sensor(spec)
                    restore(sensor, learnt)
                    if sensor.learnt < TEACHES_AFTER:
                        scorer._pupils.append(name)
                case _:
                    raise StateUnreadable("a sensor's state is a name and what it has learnt")
        return scorer

    def _resets(self, names: Iterable[str]) -> int:
        resets = 0
        for name in names:
            sensor = self._sensors.get(name)
            if sensor is not None:
                for view in sensor.views:
                    if isinstance(view, PipelineView):
                        resets += view.resets
        return resets

    def _meet(self, values: Mapping[str, float], prior: TypePrior | None) -> None:
        for name in sorted(values.keys() - self._sensors.keys()):
            if len(self._sensors) < self._spec.max_sensors:
                sensor = self._sensors[name] = build_sensor(self._spec)
                self._pupils.append(name)
                if prior is not None:
                    sensor.reach = prior.reach(name)

    def _teach(self, prior: TypePrior) -> None:
        for name in self._pupils:
            sensor = self._sensors[name]
            if sensor.teaches:
                sensor.teaches = False
                prior.teach(name, sensor.own_reach)
        self._pupils = [name for name in self._pupils if self._sensors[name].learnt < TEACHES_AFTER]


def budget_in(state: State) -> Budget:
    """The false-alarm budget that a device's state holds; raises `StateUnreadable` for that of another version."""
    match state:
        case [str(version), str(), [str(), float(a_week) | int(a_week), *_], budget, *_] if version == _VERSION:
            found = Budget(a_week)
            restore(found, budget)
            return found
    raise StateUnreadable("a device's state has a spec and a budget, and another version has them elsewhere")
