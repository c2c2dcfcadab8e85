"""What every view offers, and what it is told about the moment."""

from typing import Protocol

from services.scoring.centre import Centre


class Moment:
    """The reading's moment, as one sensor sees it; one object a sensor, filled anew for each reading.

    `event_us`: event time. `elapsed_s`: time that the reading stands for. `step_s`: typical step. `allowance`: share of
    readings that may raise an alarm in one view. `centre`: where the signal lies. `low`, `high`: range of the reading.
    `grain`, `least_width`: differences in level that are no news (see `Band.novelty`).
    """

    __slots__ = (
        "allowance",
        "centre",
        "elapsed_s",
        "event_us",
        "grain",
        "high",
        "least_width",
        "low",
        "step_s",
    )

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.event_us = 0
        self.elapsed_s = 0.0
        self.step_s = 1.0
        self.allowance = 1.0
        self.low = self.high = 0.0
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

    def relax(self, fade: float, memory: float) -> None:
        """Shrink ranges a little, now and then; see `Band.relax`. Comes after `learn`, about the same reading."""
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
