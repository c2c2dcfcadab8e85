"""What may be learnt: not a fault, but a new regime once it has lasted, and a little from every excursion."""

from enum import Enum
from typing import Final, NamedTuple

from services.scoring.state import register_fields

_PATIENCE_S: Final = 6 * 3_600.0
_PATIENCE_STEPS: Final = 72.0
_EARLY_PATIENCE_STEPS: Final = 30.0
_ADOPTION_STEPS: Final = 100.0
_CALM_READINGS: Final = 5
_LESSON_S: Final = 300.0
_LESSON_WIDTHS: Final = 3.0
_LASTING_STEPS: Final = 60.0
_LASTING_LESSON_WIDTHS: Final = 10.0
_FREQUENT_LESSON_WIDTHS: Final = 1e7


class Verdict(Enum):
    """What is to be done with a reading."""

    LEARN = "learn"
    HOLD = "hold"
    ADOPT = "adopt"
    """Learn it, though it is suspect: it belongs to a new regime."""
    RECOVER = "recover"
    """Hold it; the fault is over: averages are to forget the excursion."""


class Lesson(NamedTuple):
    """What ranges take from an excursion that is over; see `Band.release`."""

    part: float
    widths: float


class Guard:
    """The learning gate of one sensor.

    Suspect readings are held back.
    Adoption: once their time, less the time of the others between, has come to six hours (72 steps, if those take
    longer), the regime counts as new, and the next 100 steps are learnt. A sensor in its warm-up waits for 30 steps.
    Recovery: once a fault that showed on the shortest scales has not shown there for five readings, it is over, though
    longer averages still hold it.
    Lesson: when an excursion is over, each range moves to the outermost value held back (part of the way, where it
    lasted less than five minutes), if that lay within three widths (ten, where it lasted 60 steps; any number, where
    the device alarms far over its budget). So what comes back often becomes normal, and one absurd reading teaches
    nothing.
    `begins_adopting`: adoption began with the latest reading.
    """

    __slots__ = ("adopting_s", "begins_adopting", "calm", "held_s", "suspect_s", "was_abrupt")

    def __init__(self) -> None:
        self.suspect_s = 0.0
        self.held_s = 0.0
        self.adopting_s = 0.0
        self.was_abrupt = False
        self.calm = 0
        self.begins_adopting = False

    def judge(self, elapsed_s: float, step_s: float, *, suspect: bool, abrupt: bool, ready: bool) -> Verdict:
        """What to do with a reading that stands for `elapsed_s`; `abrupt`: it shows on the shortest scales."""
        self.begins_adopting = False
        if suspect:
            patience_s = patience(step_s) if ready else _EARLY_PATIENCE_STEPS * step_s
            self.suspect_s = min(self.suspect_s + elapsed_s, patience_s)
            if self.suspect_s >= patience_s:
                self.begins_adopting = self.adopting_s <= 0.0
                self.adopting_s = _ADOPTION_STEPS * step_s
        elif self.suspect_s:
            self.suspect_s = max(0.0, self.suspect_s - elapsed_s)
        adopting = self.adopting_s > 0.0
        if adopting:
            self.adopting_s = max(0.0, self.adopting_s - elapsed_s)
        if not suspect:
            self.was_abrupt = False
            self.calm = 0
            return Verdict.LEARN
        if adopting:
            return Verdict.ADOPT
        self.held_s += elapsed_s
        self.was_abrupt = self.was_abrupt or abrupt
        self.calm = 0 if abrupt else self.calm + 1
        if self.was_abrupt and self.calm == _CALM_READINGS:
            self.was_abrupt = False
            return Verdict.RECOVER
        return Verdict.HOLD

    def draw_lesson(self, step_s: float, *, frequent: bool) -> Lesson:
        """The lesson of the readings held back since the last one; `frequent`: the device alarms too often."""
        part = min(1.0, self.held_s / _LESSON_S)
        widths = _LASTING_LESSON_WIDTHS if self.held_s >= _LASTING_STEPS * step_s else _LESSON_WIDTHS
        self.held_s = 0.0
        return Lesson(part, _FREQUENT_LESSON_WIDTHS if frequent else widths)


def patience(step_s: float) -> float:
    """How long a ready sensor's readings must be suspect until they are learnt, in seconds."""
    return max(_PATIENCE_S, _PATIENCE_STEPS * step_s)


register_fields(Guard, "guard.1", "suspect_s", "held_s", "adopting_s", "was_abrupt", "calm")
