"""From evidence to a score with one meaning: 0.5 is the alarm line, and alarms keep to a budget."""

from math import exp
from typing import Final

from services.scoring.severity import ALARM_LINE
from services.scoring.state import register_fields

WEEK_S: Final = 604_800.0
_DEARER_PER_ALARM: Final = 0.5
_DEARER_OVERDRAWN: Final = 1.4
_TOLERATED: Final = 2.0
_DEAREST: Final = 50.0
_FREQUENT: Final = 2.5
_ABSURD: Final = 100.0
_ABSURD_PART: Final = 0.1
_QUIET_S: Final = 300.0
_QUIET_STEPS: Final = 120.0
_ESCALATION: Final = 3.0
_LOUD: Final = 1.5
_ANOTHER: Final = 2.0
_QUIET_SCORE: Final = 0.49


class Budget:
    """One device's alarms of late, and the evidence that one more takes: its line, 1 for the first.

    a counts alarms, forgotten with a time constant of a week; b is the budget in alarms a week. The line is
    0.5 (a / b - 1) + 1.4^(a / b - 2), no term under its value at the first alarm. A device that alarms often must show
    more each time, and gets its old line back with time. An absurd reading (evidence of 100, as of one some hundred
    thousand widths outside its range) is no judgement on what is usual: its alarm counts as a tenth, so that one such
    reading leaves the scores that follow where they were.
    """

    __slots__ = ("alarms", "alarms_per_week", "latest_us")

    def __init__(self, alarms_per_week: float) -> None:
        self.alarms_per_week = alarms_per_week
        self.alarms = 0.0
        self.latest_us = 0

    def line(self, event_us: int) -> float:
        """The evidence that makes a score of 0.5 now."""
        if not self.alarms:
            return 1.0
        spent = self.spent(event_us)
        overdraft = min(max(spent - _TOLERATED, 0.0), _DEAREST)
        line: float = _DEARER_PER_ALARM * max(spent - 1.0, 0.0) + _DEARER_OVERDRAWN**overdraft
        return line

    def spent(self, event_us: int) -> float:
        """Alarms of late, in weekly budgets."""
        return self.alarms * self._kept(event_us) / self.alarms_per_week if self.alarms else 0.0

    def is_overdrawn(self, event_us: int) -> bool:
        """Whether the device alarms so often that what keeps coming back must be normal: 2.5 weekly budgets of late."""
        return self.alarms > 0.0 and self.spent(event_us) >= _FREQUENT

    def spend(self, event_us: int, evidence: float) -> None:
        """An alarm went out, for so much evidence."""
        self.alarms = self.alarms * self._kept(event_us) + (_ABSURD_PART if evidence >= _ABSURD else 1.0)
        self.latest_us = max(self.latest_us, event_us)

    def _kept(self, event_us: int) -> float:
        return exp(-max(event_us - self.latest_us, 0) * 1e-6 / WEEK_S)


def score_of(evidence: float, line: float) -> float:
    """Evidence / (evidence + line), in [0, 1): 0.5 where the evidence reaches the line."""
    return evidence / (evidence + line)


class Quiet:
    """The quiet rule of one sensor: one alarm for one excursion, and none for a while after it began.

    Quiet lasts five minutes (120 steps, if those take longer) and at least until the score has been under the line; the
    score is held under 0.5 meanwhile. An excursion that goes on breaks it by three times the evidence of the latest
    alarm (of one of 1.5, if that was less): what wanders off reaches twice as much in time. One that began after the
    score had been under the line is another: twice that of the latest alarm is enough, so that a false alarm hides no
    fault.
    """

    __slots__ = ("left_s", "loudest", "ongoing")

    def __init__(self) -> None:
        self.left_s = 0.0
        self.ongoing = False
        self.loudest = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is muted now."""
        return not self.left_s and not self.ongoing

    def alarm_score(self, score: float, evidence: float, elapsed_s: float, step_s: float) -> float:
        """What the quiet rule leaves of `score`."""
        over = score >= ALARM_LINE
        left = self.left_s = max(0.0, self.left_s - elapsed_s)
        goes_on = self.ongoing
        muted = left > 0.0 or goes_on
        self.ongoing = goes_on and over
        if not over:
            return score if not muted else min(score, _QUIET_SCORE)
        breaks = _ESCALATION * max(self.loudest, _LOUD) if goes_on else _ANOTHER * self.loudest
        if muted and evidence < breaks:
            return _QUIET_SCORE
        self.left_s = max(_QUIET_S, _QUIET_STEPS * step_s)
        self.ongoing = True
        self.loudest = evidence
        return score


register_fields(Budget, "budget.1", "alarms", "latest_us")
register_fields(Quiet, "quiet.1", "left_s", "ongoing", "loudest")
