"""One sensor's scorer: first readings, evidence, guards, learning, in this order."""

from services.scoring.calibration import Quiet
from services.scoring.centre import Centre
from services.scoring.pace import Pace
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
_FAR_WIDTHS = 0.3
_FAR_WIDTHS_EARLY = 1.0
_PATIENCE_S = 6 * 3_600.0
_PATIENCE_STEPS = 72.0
_EARLY_PATIENCE_STEPS = 30.0
_ADOPTION_STEPS = 100.0
_STRIDE_WIDTHS = 2.0
_LINGERING = 0.5
_LESSON = 0.5
_LESSON_S = 300.0
_LESSON_WIDTHS = 3.0
_LASTING_STEPS = 60.0
_LASTING_LESSON_WIDTHS = 10.0


@stored(
    "sensor.1", "first_times", "first_values", "learnt", "pace", "centre", "views",
    "evidence", "suspect_s", "held_s", "adopting_s", "quiet",
)  # fmt: skip
class SensorScorer:
    """Scores one sensor's readings as evidence (0: nothing new; the line: an alarm), and learns what may be learnt.

    First readings: the first 32 are kept back; their median and deviation say which of them to believe, then they are
    learnt together.
    Warm-up: no evidence until `warm_up` readings are learnt. A reading more than a range's width outside waits.
    Lingering: half of a reading's evidence is added to the next one's, so what lasts weighs more than what flickers.
    Gate: a suspect reading is not learnt: one over the line, or 0.3 widths outside the range. When the excursion is
    over, each range moves half of the way to the outermost value held back (less, where it lasted less than five
    minutes), if that lay within three widths (ten, where it lasted 60 steps): what comes back often becomes normal.
    Adoption: after six hours (72 steps, if those take longer) of suspect time, less the time between, the regime counts
    as new: the next 100 steps are learnt, each in strides of two widths at most.
    """

    __slots__ = (
        "_level",
        "_moment",
        "adopting_s",
        "centre",
        "evidence",
        "first_times",
        "first_values",
        "held_s",
        "learnt",
        "pace",
        "quiet",
        "suspect_s",
        "value",
        "views",
        "warm_up",
    )  # fmt: skip

    def __init__(self, level: LevelView, others: list[View], warm_up: int) -> None:
        self.views: list[View] = [level, *others]
        self.warm_up = warm_up
        self.first_times: list[int] = []
        self.first_values: list[float] = []
        self.learnt = 0
        self.pace = Pace()
        self.centre = Centre()
        self.suspect_s = 0.0
        self.held_s = 0.0
        self.adopting_s = 0.0
        self.quiet = Quiet()
        self.evidence = 0.0
        self.value = 0.0
        self._level = level
        self._moment = Moment(self.centre)

    @property
    def ready(self) -> bool:
        """Whether enough was learnt for evidence to mean something."""
        return self.learnt >= self.warm_up

    @property
    def progress(self) -> float:
        """Part of the warm-up that is done, in [0, 1]."""
        return min(1.0, (self.learnt + len(self.first_values)) / self.warm_up)

    def update(self, event_us: int, value: float, line: float, alarms_per_second: float, *, learn: bool) -> float:
        """Take one reading; its evidence."""
        self.value = value
        value = max(-_LARGEST, min(_LARGEST, value)) + 0.0  # no int, no -0.0
        if self.learnt == 0:
            self.evidence = 0.0
            if learn:
                self._keep_back(event_us, value)
            return 0.0
        self._set_moment(event_us, alarms_per_second)
        moment = self._moment
        evidence = 0.0
        for view in self.views:
            evidence += view.evidence(value, moment)
        ready = self.learnt >= self.warm_up
        evidence = self.evidence = evidence + _LINGERING * self.evidence if ready else 0.0
        if learn:
            far = _FAR_WIDTHS if ready else _FAR_WIDTHS_EARLY
            self._guard(value, suspect=evidence >= line or self._widths_outside(value) > far, ready=ready)
        return evidence

    @property
    def expected(self) -> tuple[float, float] | tuple[None, None]:
        """The range that readings have kept to, once it means something."""
        band = self._level.bands[0]
        return (band.low, band.high) if self.ready else (None, None)

    def alarm_score(self, score: float) -> float:
        """What the quiet rule leaves of the latest reading's `score`."""
        moment = self._moment
        return self.quiet.alarm_score(score, self.evidence, moment.elapsed_s, moment.step_s)

    def _keep_back(self, event_us: int, value: float) -> None:
        self.first_times.append(event_us)
        self.first_values.append(value)
        if len(self.first_values) < _FIRST_READINGS:
            return
        times, values = self.first_times, self.first_values
        self.first_times, self.first_values = [], []
        self.pace.begin(times)
        low, high = self.centre.begin(values)
        moment = self._moment
        for time_us, kept in zip(times, values, strict=True):
            believed = max(low, min(high, kept))
            self._set_moment(time_us, 0.0)
            for view in self.views:
                view.evidence(believed, moment)
            self._take(believed)

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

    def _guard(self, value: float, *, suspect: bool, ready: bool) -> None:
        """Learn the reading, or hold it back, or adopt it."""
        moment = self._moment
        elapsed_s, step_s = moment.elapsed_s, moment.step_s
        if suspect:
            patience_s = max(_PATIENCE_S, _PATIENCE_STEPS * step_s) if ready else _EARLY_PATIENCE_STEPS * step_s
            self.suspect_s = min(self.suspect_s + elapsed_s, patience_s)
            if self.suspect_s >= patience_s:
                self.adopting_s = _ADOPTION_STEPS * step_s
        elif self.suspect_s:
            self.suspect_s = max(0.0, self.suspect_s - elapsed_s)
        adopting = self.adopting_s > 0.0
        if adopting:
            self.adopting_s = max(0.0, self.adopting_s - elapsed_s)
        if (adopting or not suspect) and self.held_s:
            self._draw_lesson()
        if not suspect:
            self._take(value)
        elif adopting:
            stride = self._within_stride(value)
            if stride != value:
                for view in self.views:
                    view.evidence(stride, moment)
            self._take(stride)
        else:
            self.held_s += elapsed_s
            abrupt = self._level.is_abrupt(moment.least_width)
            for view in self.views:
                view.hold(abrupt=abrupt)

    def _take(self, value: float) -> None:
        moment = self._moment
        for view in self.views:
            view.learn(moment)
        self.centre.learn(value, moment.memory)
        self.learnt += 1

    def _draw_lesson(self) -> None:
        part = _LESSON * min(1.0, self.held_s / _LESSON_S)
        lasted = self.held_s >= _LASTING_STEPS * self._moment.step_s
        for view in self.views:
            view.release(part, _LASTING_LESSON_WIDTHS if lasted else _LESSON_WIDTHS)
        self.held_s = 0.0

    def _within_stride(self, value: float) -> float:
        band = self._level.bands[0]
        stride = _STRIDE_WIDTHS * max(band.high - band.low, self._moment.least_width)
        return max(band.low - stride, min(band.high + stride, value))

    def _widths_outside(self, value: float) -> float:
        band = self._level.bands[0]
        return band.outside(value) / max(band.high - band.low, self._moment.least_width)
