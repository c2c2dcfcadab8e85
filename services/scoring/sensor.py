"""One sensor's scorer: first readings, evidence, guard, learning, in this order."""

from services.scoring.calibration import Quiet
from services.scoring.centre import Centre
from services.scoring.guard import Guard, Verdict
from services.scoring.pace import Pace
from services.scoring.severity import ALARM_LINE
from services.scoring.state import stored
from services.scoring.views.level import LevelView
from services.scoring.views.view import Moment, View

_FIRST_READINGS = 32
_HALF_LIFE_S = 21 * 86_400.0
_HALF_LIFE_STEPS = 2_000.0
_LN2 = 0.6931471805599453
_LARGEST = 1e100
_NO_NEWS = 1e-3
_CONSTANT_WIDTH = 0.1
_ZERO_WIDTH = 10.0
_LINGERING = 0.5
_MOST_LINGERING = 8.0
_FAR_WIDTHS = 0.3
_FAR_WIDTHS_EARLY = 1.0
_STRIDE_WIDTHS = 2.0


@stored("sensor.1", "first_times", "first_values", "learnt", "pace", "centre", "views", "lingering", "guard", "quiet")
class SensorScorer:
    """Scores one sensor's readings as evidence (0: nothing new; the line: an alarm), and learns what may be learnt.

    First readings: the first 32 are kept back; their median and deviation say which are to be believed, and those are
    learnt.
    Warm-up: no evidence until `warm_up` readings are learnt; a reading more than a range's width outside is suspect.
    Lingering: evidence fades by half with each reading. What lingers is added to a reading's own, up to as much again:
    what lasts weighs more than what flickers, and a normal reading is normal at once.
    Suspect, and so left to `Guard`, is a reading with evidence of its own that reaches the line with what lingers, or
    one that lies 0.3 widths outside its range. What is adopted is learnt in strides of two widths at most.
    Memory: ranges and averages have a half-life of 21 days (2,000 steps, if those take longer).
    """

    __slots__ = (
        "_level",
        "_moment",
        "centre",
        "evidence",
        "first_times",
        "first_values",
        "guard",
        "learnt",
        "lingering",
        "pace",
        "quiet",
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
        self.pace = Pace()
        self.centre = Centre()
        self.guard = Guard()
        self.quiet = Quiet()
        self.lingering = 0.0
        self.evidence = 0.0
        self.value = 0.0
        self._level = level
        self._moment = Moment(self.centre)

    @property
    def progress(self) -> float:
        """Part of the warm-up that is done, in [0, 1]; 1 means ready."""
        return min(1.0, (self.learnt + len(self.first_values)) / self.warm_up)

    @property
    def expected(self) -> tuple[float, float] | tuple[None, None]:
        """The range that readings have kept to, once it means something."""
        band = self._level.bands[0]
        return (band.low, band.high) if self.learnt >= self.warm_up else (None, None)

    def update(self, event_us: int, value: float, line: float, alarms_per_second: float, *, learn: bool) -> float:
        """Take one reading; its evidence. `line`: the evidence that an alarm takes; `alarms_per_second`: the budget."""
        self.value = value
        self.evidence = 0.0
        value = max(-_LARGEST, min(_LARGEST, value)) + 0.0  # no int, no -0.0
        if self.learnt == 0:
            if learn:
                self._keep_back(event_us, value)
            return 0.0
        self._set_moment(event_us, alarms_per_second)
        moment = self._moment
        own = 0.0
        for view in self.views:
            own += view.evidence(value, moment)
        ready = self.learnt >= self.warm_up
        lingering = min(self.lingering, _MOST_LINGERING)
        if ready:
            self.evidence = own + _LINGERING * min(lingering, 2.0 * own)
        if learn:
            self.lingering = own + _LINGERING * lingering if ready else 0.0
            far = self._widths_outside(value) > (_FAR_WIDTHS if ready else _FAR_WIDTHS_EARLY)
            suspect = far or (own > 0.0 and self.lingering >= line)
            self._guarded_learn(value, suspect=suspect, far=far, ready=ready)
        return self.evidence

    def alarm_score(self, score: float) -> float:
        """What the quiet rule leaves of the latest reading's `score`."""
        quiet, moment = self.quiet, self._moment
        if quiet.is_idle and score < ALARM_LINE:
            return score
        return quiet.alarm_score(score, self.evidence, moment.elapsed_s, moment.step_s)

    def _keep_back(self, event_us: int, value: float) -> None:
        self.first_times.append(event_us)
        self.first_values.append(value)
        if len(self.first_values) < _FIRST_READINGS:
            return
        times, values = self.first_times, self.first_values
        self.first_times, self.first_values = [], []
        self.pace.begin(times)
        low, high = self.centre.begin(values)
        for time_us, kept in zip(times, values, strict=True):
            self._set_moment(time_us, 0.0)
            if low <= kept <= high:
                self._take(kept)

    def _set_moment(self, event_us: int, alarms_per_second: float) -> None:
        moment, pace, centre, band = self._moment, self.pace, self.centre, self._level.bands[0]
        elapsed_s = moment.elapsed_s = pace.observe(event_us)
        step_s = moment.step_s = pace.step_s
        half_life_s = max(_HALF_LIFE_S, _HALF_LIFE_STEPS * step_s)
        moment.event_us = event_us
        moment.allowance = alarms_per_second * step_s
        moment.fade = _LN2 * elapsed_s / half_life_s
        moment.memory = half_life_s / step_s / _LN2
        if band.high > band.low:
            moment.grain = centre.grain
            moment.least_width = _NO_NEWS * abs(centre.mean)
        else:
            moment.grain = 0.0
            moment.least_width = _CONSTANT_WIDTH * abs(band.low) or _ZERO_WIDTH

    def _guarded_learn(self, value: float, *, suspect: bool, far: bool, ready: bool) -> None:
        moment, guard = self._moment, self.guard
        abruptness = self._level.abruptness
        abrupt = far or abruptness > 0.0
        verdict = guard.judge(moment.elapsed_s, moment.step_s, suspect=suspect, abrupt=abrupt, ready=ready)
        if verdict is Verdict.HOLD:
            for view in self.views:
                view.hold(abrupt=far or abruptness >= 1.0)
            return
        if verdict is Verdict.RECOVER:
            self.lingering = 0.0
            for view in self.views:
                view.recover(moment)
            return
        if guard.held_s:
            lesson = guard.draw_lesson(moment.step_s)
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
        for view in self.views:
            view.learn(moment)
        self.centre.learn(value, moment.memory)
        self.learnt += 1

    def _within_stride(self, value: float) -> float:
        band = self._level.bands[0]
        stride = _STRIDE_WIDTHS * max(band.high - band.low, self._moment.least_width)
        return max(band.low - stride, min(band.high + stride, value))

    def _widths_outside(self, value: float) -> float:
        band = self._level.bands[0]
        if band.low <= value <= band.high:
            return 0.0
        return band.outside(value) / max(band.high - band.low, self._moment.least_width)
