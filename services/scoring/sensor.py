"""One sensor's scorer: first readings, evidence, guard, learning, in this order."""

from typing import Final

from schemas.telemetry import SensorScore
from services.scoring.band import RELAX_EVERY, Band
from services.scoring.calibration import Quiet, score_of
from services.scoring.centre import Centre
from services.scoring.guard import Guard, Verdict
from services.scoring.pace import Pace
from services.scoring.prior import TEACHES_AFTER
from services.scoring.regime import Regime
from services.scoring.severity import ALARM_LINE
from services.scoring.state import register_fields
from services.scoring.views.level import LevelView
from services.scoring.views.view import Moment, View

_FIRST_READINGS: Final = 32
_FEW_STRANGERS: Final = 3
_HALF_LIFE_S: Final = 21 * 86_400.0
_HALF_LIFE_STEPS: Final = 4_000.0
_LN2: Final = 0.6931471805599453
_LARGEST: Final = 1e100
_FAR_WIDTHS: Final = 0.3
_FAR_WIDTHS_EARLY: Final = 1.0
_STRIDE_WIDTHS: Final = 2.0
_TYPE_WEIGHT: Final = 1.47
_FIRST_REACHES: Final = 1.5
_HELD_STEPS: Final = 3.5


class SensorScorer:
    """Scores one sensor's readings as evidence (0: nothing new; the line: an alarm), and learns what may be learnt.

    First readings: the first 32 are kept back; their median and deviation say which are to be believed (all, if more
    than three would not be), and those are learnt.
    Warm-up: no evidence until `warm_up` readings are learnt; a reading more than a range's width outside is suspect.
    Where the device's type has a prior, evidence is how far the reading lies further from the first ones than its type
    goes (half as far again as those went, if that is more).
    Suspect, and so left to `Guard`, is a reading with evidence that reaches the line, or one that lies 0.3 widths
    outside its range. What is adopted is learnt in strides of two widths at most.
    Memory: ranges and averages have a half-life of 21 days (4,000 steps, if those take longer).

    `evidence`: of the latest reading; `fresh`: the part of it that may open an anomaly: not that of a regime that waits
    for adoption. `adopted`: a new regime became normal with the latest reading. `reach`: how far the type's sensors go
    (see `TypePrior`), 0 if unknown. `teaches`: this sensor's own has become known, and nobody has asked for it.
    `standing`: evidence of the newest reading, by its time.
    """

    __slots__ = (
        "_level",
        "_moment",
        "_of_type",
        "adopted",
        "centre",
        "evidence",
        "first_times",
        "first_values",
        "fresh",
        "guard",
        "learnt",
        "origin",
        "pace",
        "quiet",
        "reach",
        "regime",
        "standing",
        "teaches",
        "unfaded",
        "value",
        "views",
        "warm_up",
    )

    def __init__(self, level: LevelView, others: list[View], warm_up: int) -> None:
        self.views: list[View] = [level, *others]
        self.warm_up = warm_up
        self.first_times: list[int] = []
        self.first_values: list[float] = []
        self.learnt = 0
        self.unfaded = 0.0
        self.pace = Pace()
        self.centre = Centre()
        self.guard = Guard()
        self.regime = Regime()
        self.quiet = Quiet()
        self.evidence = 0.0
        self.fresh = 0.0
        self.standing = 0.0
        self.adopted = False
        self.value = 0.0
        self.origin = 0.0
        self.reach = 0.0
        self.teaches = False
        self._level = level
        self._of_type: Band | None = None
        self._moment = Moment(self.centre)

    def report(self, line: float) -> SensorScore:
        """What is published of the latest reading; at `line` as in `update`."""
        evidence, fresh = self.evidence, self.fresh
        score = score_of(evidence, line)
        alarm = score if fresh == evidence else score_of(fresh, line)
        quiet = self.quiet
        if alarm >= ALARM_LINE or not quiet.is_idle:
            alarm = quiet.alarm_score(alarm, fresh, self._moment.elapsed_s, self._moment.step_s)
        if self.learnt < self.warm_up:
            return SensorScore(score, alarm, None, None)
        band = self._level.reading
        return SensorScore(score, alarm, band.low, band.high)

    @property
    def progress(self) -> float:
        """Part of the warm-up that is done, in [0, 1]; 1 means ready."""
        return min(1.0, (self.learnt + len(self.first_values)) / self.warm_up)

    @property
    def expected(self) -> tuple[float, float] | tuple[None, None]:
        """The range that readings have kept to, once it means something."""
        band = self._level.reading
        return (band.low, band.high) if self.learnt >= self.warm_up else (None, None)

    def update(
        self, event_us: int, value: float, line: float, alarms_per_second: float, *, learn: bool, frequent: bool = False
    ) -> float:
        """Take one reading; its evidence.

        `line`: the evidence that an alarm takes; `alarms_per_second`: the budget; `frequent`: it is far overdrawn.
        """
        self.value = value
        self.evidence = self.fresh = 0.0
        self.adopted = False
        if not -_LARGEST <= value <= _LARGEST:
            value = _LARGEST if value > 0.0 else -_LARGEST
        value += 0.0  # no int, no -0.0
        if self.learnt == 0:
            if learn:
                self._keep_back(event_us, value)
            return 0.0
        moment = self._moment
        self._set_moment(event_us, alarms_per_second)
        own = 0.0
        for view in self.views:
            own += view.evidence(value, moment)
        if self.learnt < self.warm_up:
            if self.reach:
                self.evidence = self.fresh = self._evidence_of_type(value)
            if learn:
                far = self._widths_outside(value) > _FAR_WIDTHS_EARLY
                suspect = far or own >= line or self.evidence >= line
                self._guarded_learn(value, suspect=suspect, far=far, ready=False, frequent=frequent)
            if moment.elapsed_s > 0.0:
                self.standing = self.evidence
            return self.evidence
        self.evidence = self.fresh = own
        if self.regime.is_watched:
            self._watch(learn=learn)
        if learn:
            if own == 0.0 and not self.guard.held_s and not self.guard.suspect_s and not self.guard.adopting_s:
                self._learn(value)  # the common case, in short
            else:
                far = self._widths_outside(value) > _FAR_WIDTHS
                self._guarded_learn(value, suspect=far or own >= line, far=far, ready=True, frequent=frequent)
        if moment.elapsed_s > 0.0:
            self.standing = self.evidence
        return self.evidence

    def held(self, event_us: int) -> float:
        """What `standing` is worth to a message of `event_us` that lacks this sensor: all of it for 3.5 steps.

        So three messages in a row may lack a field before what its sensor showed is over.
        """
        since_us = event_us - self.pace.latest_us
        return self.standing if 0 <= since_us <= _HELD_STEPS * self.pace.step_s * 1e6 else 0.0

    @property
    def own_reach(self) -> float:
        """How far readings have gone from the first ones."""
        band = self._level.reading
        return max(band.high - self.origin, self.origin - band.low)

    def mark(self) -> tuple[float, ...]:
        """What scoring alone changes, so that it can be undone with `back_to`."""
        pace, quiet = self.pace, self.quiet
        return pace.latest_us, pace.step_s, quiet.left_s, quiet.ongoing, quiet.loudest, self.standing

    def back_to(self, mark: tuple[float, ...]) -> None:
        """Be again as at `mark`."""
        latest_us, step_s, left_s, ongoing, loudest, self.standing = mark
        self.pace.latest_us, self.pace.step_s = int(latest_us), step_s
        self.quiet.left_s, self.quiet.ongoing, self.quiet.loudest = left_s, bool(ongoing), loudest

    def _keep_back(self, event_us: int, value: float) -> None:
        self.first_times.append(event_us)
        self.first_values.append(value)
        if len(self.first_values) < _FIRST_READINGS:
            return
        times, values = self.first_times, self.first_values
        self.first_times, self.first_values = [], []
        self.pace.begin(times)
        low, high = self.centre.begin(values)
        self.origin = self.centre.mean
        if self.reach:
            self.reach = max(self.reach, _FIRST_REACHES * max(abs(kept - self.origin) for kept in values))
        believe_all = sum(not low <= kept <= high for kept in values) > _FEW_STRANGERS
        for time_us, kept in zip(times, values, strict=True):
            self._set_moment(time_us, 0.0)
            if believe_all or low <= kept <= high:
                self._take(kept)

    def _set_moment(self, event_us: int, alarms_per_second: float) -> None:
        moment, band = self._moment, self._level.reading
        moment.elapsed_s = self.pace.observe(event_us)
        moment.step_s = self.pace.step_s
        moment.event_us = event_us
        moment.alarms_per_second = alarms_per_second
        moment.low = band.low
        moment.high = band.high

    def _watch(self, *, learn: bool) -> None:
        mean = self._level.short_mean
        held_against = self.regime.evidence(mean)
        if held_against > self.evidence:
            self.evidence = held_against
        if learn:
            self.adopted = self.regime.pass_time(self._moment.elapsed_s, back=held_against == 0.0)

    def _guarded_learn(self, value: float, *, suspect: bool, far: bool, ready: bool, frequent: bool) -> None:
        moment, guard = self._moment, self.guard
        abruptness = self._level.abruptness
        abrupt = far or abruptness > 0.0
        verdict = guard.judge(moment.elapsed_s, moment.step_s, suspect=suspect, abrupt=abrupt, ready=ready)
        if guard.begins_adopting and ready:
            self.adopted = self.regime.begin(moment.low, moment.high, moment.step_s)
        if verdict is Verdict.HOLD:
            for view in self.views:
                view.hold(abrupt=far or abruptness >= 1.0)
            return
        if verdict is Verdict.RECOVER:
            for view in self.views:
                view.recover(moment)
            return
        if guard.held_s:
            lesson = guard.draw_lesson(moment.step_s, frequent=frequent)
            for view in self.views:
                view.release(lesson.part, lesson.widths)
        if verdict is Verdict.LEARN:
            self._learn(value)
        else:
            self._take(self._within_stride(value))

    def _take(self, value: float) -> None:
        for view in self.views:
            view.evidence(value, self._moment)
        self._learn(value)

    def _learn(self, value: float) -> None:
        moment = self._moment
        step_s = moment.step_s
        half_life_s = _HALF_LIFE_STEPS * step_s
        if half_life_s < _HALF_LIFE_S:
            half_life_s = _HALF_LIFE_S
        memory = half_life_s / step_s / _LN2
        for view in self.views:
            view.learn(moment)
        self.centre.learn(value, memory)
        self.unfaded += _LN2 * moment.elapsed_s / half_life_s
        learnt = self.learnt = self.learnt + 1
        if learnt % RELAX_EVERY == 0:
            fade, self.unfaded = self.unfaded, 0.0
            for view in self.views:
                view.relax(fade, memory / RELAX_EVERY)
            if learnt == TEACHES_AFTER:
                self.teaches = True

    def _evidence_of_type(self, value: float) -> float:
        band = self._of_type
        if band is None:
            band = self._of_type = Band(silent=0)
            band.low, band.high, band.since = self.origin - self.reach, self.origin + self.reach, 0
        return _TYPE_WEIGHT * band.novelty(value, TEACHES_AFTER, self._moment.allowance)

    def _within_stride(self, value: float) -> float:
        band = self._level.reading
        stride = _STRIDE_WIDTHS * max(band.high - band.low, self._moment.least_width)
        return max(band.low - stride, min(band.high + stride, value))

    def _widths_outside(self, value: float) -> float:
        band = self._level.reading
        if band.low <= value <= band.high:
            return 0.0
        return band.outside(value) / max(band.high - band.low, self._moment.least_width)


register_fields(
    SensorScorer,
    "sensor.4",
    "first_times",
    "first_values",
    "learnt",
    "unfaded",
    "pace",
    "centre",
    "views",
    "guard",
    "regime",
    "quiet",
    "origin",
    "reach",
    "standing",
)
