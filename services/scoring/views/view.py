"""What every view offers, and what it is told about the moment."""

from typing import Protocol

from services.scoring.centre import Centre


class Moment:
    """The reading's moment, as one sensor sees it; one object a sensor, filled anew for each reading.

    `event_us`: event time. `elapsed_s`: time that the reading stands for. `step_s`: typical step. `allowance`: share of
    readings that may raise an alarm. `fade`: part of the way to its mean that a range shrinks now. `memory`: readings
    that averages span. `centre`: where the signal lies.
    `grain`, `least_width`: differences in level that are no news (see `Band.novelty`).
    """

    __slots__ = (
        "allowance",
        "centre",
        "elapsed_s",
        "event_us",
        "fade",
        "grain",
        "least_width",
        "memory",
        "step_s",
    )

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.event_us = 0
        self.elapsed_s = 0.0
        self.step_s = 1.0
        self.allowance = 1.0
        self.fade = 0.0
        self.memory = 1.0
        self.grain = 0.0
        self.least_width = 0.0


class View(Protocol):
    """One way to look at a sensor. `evidence` comes first; `learn` or `hold` may follow, about the same reading."""

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is in this view: 0 for nothing, about 1 for what would deserve an alarm alone."""
        ...

    def learn(self, moment: Moment) -> None:
        """Take in the reading whose evidence was asked last."""
        ...

    def hold(self, *, abrupt: bool) -> None:
        """The reading whose evidence was asked last is not to be learnt. `abrupt`: averages leave it out as well."""
        ...

    def recover(self, moment: Moment) -> None:
        """The fault is over: running averages start from what is usual, or anew."""
        ...

    def release(self, part: float, widths: float) -> None:
        """The excursion is over: see `Band.release`."""
        ...
