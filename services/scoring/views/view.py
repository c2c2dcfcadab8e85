"""What every view offers, and what it is told about the moment."""

from typing import Final

from services.scoring.centre import Centre

_SHARE: Final = 0.2
_NO_NEWS: Final = 1e-3
_CONSTANT_WIDTH: Final = 0.1
_ZERO_WIDTH: Final = 10.0


class Moment:
    """The reading's moment, as one sensor sees it; one object a sensor, filled anew for each reading.

    `event_us`: event time. `elapsed_s`: time that the reading stands for. `step_s`: typical step. `alarms_per_second`:
    the budget. `centre`: where the signal lies. `low`, `high`: range of the reading.
    """

    __slots__ = ("alarms_per_second", "centre", "elapsed_s", "event_us", "high", "low", "step_s")

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.event_us = 0
        self.elapsed_s = 0.0
        self.step_s = 1.0
        self.alarms_per_second = 0.0
        self.low = self.high = 0.0

    @property
    def allowance(self) -> float:
        """Share of readings that may raise an alarm in one view."""
        return _SHARE * self.alarms_per_second * self.step_s

    @property
    def grain(self) -> float:
        """A difference in level that is no news; see `Band.novelty`."""
        return self.centre.grain if self.high > self.low else 0.0

    @property
    def least_width(self) -> float:
        """A width that ranges of the level have at least; see `Band.novelty`."""
        if self.high > self.low:
            return _NO_NEWS * abs(self.centre.mean)
        return _CONSTANT_WIDTH * abs(self.low) or _ZERO_WIDTH


class View:
    """One way to look at a sensor. `evidence` comes first; `learn` or `hold` may follow, about the same reading."""

    __slots__ = ()

    def evidence(self, value: float, moment: Moment) -> float:
        """How new the reading is in this view: 0 for nothing, about 1 for what would deserve an alarm alone."""
        raise NotImplementedError

    def learn(self, moment: Moment) -> None:
        """Take in the reading whose evidence was asked last."""
        raise NotImplementedError

    def relax(self, fade: float, memory: float) -> None:
        """Shrink ranges a little, now and then; see `Band.relax`. Comes after `learn`, about the same reading."""
        raise NotImplementedError

    def hold(self, *, abrupt: bool) -> None:
        """The reading whose evidence was asked last is not to be learnt. `abrupt`: averages leave it out as well."""
        raise NotImplementedError

    def recover(self, moment: Moment) -> None:
        """The fault is over: running averages start from what is usual, or anew."""
        raise NotImplementedError

    def release(self, part: float, widths: float) -> None:
        """The excursion is over: see `Band.release`."""
        raise NotImplementedError
