"""What a model is told of a reading: named numbers, made of its level and its time.

A level is how many deviations the reading lies from the signal's centre (`Centre.scaled`), so features mean the same
for every signal.
"""

from array import array
from math import cos, pi, sin
from typing import Protocol

from services.scoring.parts.registry import Feature as FeaturePart
from services.scoring.parts.registry import Parameter, offer
from services.scoring.rolling import Mean as RollingMean
from services.scoring.rolling import Spread as RollingSpread
from services.scoring.state import register_fields
from services.scoring.views.view import Moment

_DAY_US = 86_400_000_000
_EPOCH_WEEKDAY_US = 3 * _DAY_US
"""1970 began on a Thursday; weeks begin on Mondays."""
_WITHIN = Parameter(8.0, 1.0, 1e6, "deviations from the centre beyond which a level counts as this far")


class Feature(Protocol):
    """One or several named numbers of a reading.

    `bounds`: the lowest and highest value that each can take, by name, in the order in which `read` gives them.
    """

    bounds: dict[str, tuple[float, float]]

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:
        """Put this reading's numbers into `x`; nothing is learnt."""
        ...

    def learn(self) -> None:
        """The reading that was read last belongs to the signal."""
        ...

    def recover(self) -> None:
        """A fault is over: forget what came."""
        ...


class Level:
    """How many deviations the reading lies from the signal's centre."""

    __slots__ = ("_within", "bounds")

    def __init__(self, within: float) -> None:
        self._within = within
        self.bounds = {"level": (-within, within)}

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the level alone
        """See `Feature`."""
        x["level"] = _clamped(level, self._within)

    def learn(self) -> None:
        """See `Feature`."""

    def recover(self) -> None:
        """See `Feature`."""


class Change:
    """The level less the one before."""

    __slots__ = ("_latest", "_within", "bounds", "last")

    def __init__(self, within: float) -> None:
        self._within = within
        self.bounds = {"change": (-2.0 * within, 2.0 * within)}
        self.last = 0.0
        self._latest = 0.0

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the level alone
        """See `Feature`."""
        latest = self._latest = _clamped(level, self._within)
        x["change"] = latest - self.last

    def learn(self) -> None:
        """See `Feature`."""
        self.last = self._latest

    def recover(self) -> None:
        """See `Feature`."""
        self.last = self._latest


class Lags:
    """The latest `count` levels before this one."""

    __slots__ = ("_latest", "_names", "_within", "bounds", "levels")

    def __init__(self, count: int, within: float) -> None:
        self._within = within
        self._names = [f"lag_{i + 1}" for i in range(count)]
        self.bounds = dict.fromkeys(self._names, (-within, within))
        self.levels = array("d", [0.0]) * count
        self._latest = 0.0

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the level alone
        """See `Feature`."""
        self._latest = _clamped(level, self._within)
        x.update(zip(self._names, self.levels, strict=True))

    def learn(self) -> None:
        """See `Feature`."""
        self.levels = array("d", [self._latest]) + self.levels[:-1]

    def recover(self) -> None:
        """See `Feature`."""
        self.levels = array("d", [0.0]) * len(self.levels)


class Mean:
    """The mean level of the latest `readings`."""

    __slots__ = ("_name", "_within", "bounds", "mean")

    def __init__(self, readings: int, within: float) -> None:
        self._within = within
        self._name = f"mean_{readings}"
        self.bounds = {self._name: (-within, within)}
        self.mean = RollingMean(readings)

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the level alone
        """See `Feature`."""
        x[self._name] = self.mean.with_next(_clamped(level, self._within))

    def learn(self) -> None:
        """See `Feature`."""
        self.mean.push()

    def recover(self) -> None:
        """See `Feature`."""
        self.mean.fill(0.0)


class Spread:
    """The standard deviation of the latest `readings` levels."""

    __slots__ = ("_name", "_within", "bounds", "spread")

    def __init__(self, readings: int, within: float) -> None:
        self._within = within
        self._name = f"spread_{readings}"
        self.bounds = {self._name: (0.0, within)}
        self.spread = RollingSpread(readings)

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the level alone
        """See `Feature`."""
        x[self._name] = self.spread.with_next(_clamped(level, self._within))

    def learn(self) -> None:
        """See `Feature`."""
        self.spread.push()

    def recover(self) -> None:
        """See `Feature`."""
        self.spread.clear()


class Clock:
    """Where the hand of a clock points that goes round once in `period_us`: its sine and cosine (UTC)."""

    __slots__ = ("_cosine", "_period_us", "_sine", "bounds")

    def __init__(self, name: str, period_us: int) -> None:
        self._period_us = period_us
        self._sine, self._cosine = f"{name}_sine", f"{name}_cosine"
        self.bounds = {self._sine: (-1.0, 1.0), self._cosine: (-1.0, 1.0)}

    def read(self, x: dict[str, float], level: float, moment: Moment) -> None:  # noqa: ARG002  of the time alone
        """See `Feature`."""
        angle = 2.0 * pi * ((moment.event_us + _EPOCH_WEEKDAY_US) % self._period_us) / self._period_us
        x[self._sine], x[self._cosine] = sin(angle), cos(angle)

    def learn(self) -> None:
        """See `Feature`."""

    def recover(self) -> None:
        """See `Feature`."""


def _clamped(level: float, within: float) -> float:
    return max(-within, min(within, level))


register_fields(Level, "feature.level.1")
register_fields(Change, "feature.change.1", "last")
register_fields(Lags, "feature.lags.1", "levels")
register_fields(Mean, "feature.mean.1", "mean")
register_fields(Spread, "feature.spread.1", "spread")
register_fields(Clock, "feature.clock.1")

_READINGS = Parameter(20, 2, 1_000, "how many")

for _part in (
    FeaturePart(name="level", says="deviations from the centre", build=Level, parameters={"within": _WITHIN}),
    FeaturePart(name="change", says="level less the one before", build=Change, parameters={"within": _WITHIN}),
    FeaturePart(
        name="lags",
        says="levels before this one",
        build=Lags,
        parameters={"count": Parameter(8, 1, 100, "how many"), "within": _WITHIN},
        foretold=True,
    ),
    FeaturePart(
        name="mean",
        says="mean level of the latest readings",
        build=Mean,
        parameters={"readings": _READINGS, "within": _WITHIN},
    ),
    FeaturePart(
        name="spread",
        says="standard deviation of the latest levels",
        build=Spread,
        parameters={"readings": _READINGS, "within": _WITHIN},
    ),
    FeaturePart(
        name="time_of_day", says="sine and cosine, UTC", build=lambda: Clock("time_of_day", _DAY_US), foretold=True
    ),
    FeaturePart(
        name="time_of_week",
        says="sine and cosine, UTC",
        build=lambda: Clock("time_of_week", 7 * _DAY_US),
        foretold=True,
    ),
):
    offer(_part)
