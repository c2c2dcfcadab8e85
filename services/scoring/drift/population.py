"""Drift of one sensor across all devices of a type: is it distributed as it was at the same hours of the week?

In: the hourly means of each device, one after the other. The first week tells where ten bins of equal weight lie; after
that each day is compared with what the same hours of the week have held, and then remembered, unless it has drifted.
"""

from bisect import bisect_right
from math import log, sqrt
from struct import Struct
from typing import NamedTuple

import msgspec

from schemas.model_event import DriftTest, Step
from services.scoring.drift.hours import hour_of_week

BINS = 10
WATCH_PSI = 0.1
MOVED_PSI = 0.25
"""The population stability index's conventional lines: Siddiqi, Credit Risk Scorecards (2006)."""

_LEARN_DAYS = 7
_LEAST_FOR_EDGES = 100
_LEAST_TO_COMPARE = 20
_MOST_KEPT = 512
_KEPT_OF_REFERENCE = 0.875
"""A reference remembers some eight weeks."""
_CHANCE_PSI = 21.666
"""Chi-squared with 9 degrees of freedom, 99 %: what PSI reaches by chance once in a hundred days, in 1/n + 1/m
(Yurdakul, Statistical properties of population stability index, 2018)."""
_CHANCE_KS = 1.628
"""Kolmogorov and Smirnov's line at 1 %, in sqrt(1/n + 1/m)."""
_RETIRE_DAYS = 14
_SMOOTHING = 0.5

Row = list[float]
_ROW = Struct(f"<{BINS}f")


class Shift(NamedTuple):
    """A day that is over, on which the distribution's level of change became another one. `ks`: largest difference.

    `step` None: it is again as it was.
    """

    test: DriftTest
    day: int
    psi: float
    threshold: float
    ks: float
    step: Step | None


class Population(msgspec.Struct, array_like=True):
    """See the module. `kept`: every `stride`-th value of the first week.

    `reference`: hour of the week -> bins (float32).
    `today`, `expected`: this day's bins by hour of the week, and what the reference holds of the same, value by value.
    `level`: 0 as ever, 1 watched, 2 moved; `moved_days`: days in a row on the latter.
    """

    day: int = -1
    first_day: int = -1
    values: int = 0
    stride: int = 1
    kept: list[float] = []
    edges: list[float] = []
    reference: dict[int, bytes] = {}
    today: dict[int, Row] = {}
    expected: Row = msgspec.field(default_factory=lambda: [0.0] * BINS)
    level: int = 0
    moved_days: int = 0

    def take(self, hour: int, mean: float) -> Shift | None:
        """Take one device's mean of an hour; what came out of the day before, when this begins another one.

        Means of days that are over are left out.
        """
        day = hour // 24
        if day < self.day:
            return None
        shift = None
        if day > self.day:
            shift = self._end_day()
            self.day = day
            if self.first_day < 0:
                self.first_day = day
        self.values += 1
        if not self.edges:
            self._keep(mean)
            return None
        at = hour_of_week(hour)
        row = self.today.setdefault(at, [0.0] * BINS)
        row[bisect_right(self.edges, mean)] += 1.0
        if at in self.reference:
            known = _ROW.unpack(self.reference[at])
            weight = sum(known)
            self.expected = [e + k / weight for e, k in zip(self.expected, known, strict=True)]
        return shift

    def _keep(self, mean: float) -> None:
        if self.values % self.stride == 0:
            self.kept.append(mean)
            if len(self.kept) == _MOST_KEPT:
                self.kept = self.kept[1::2]
                self.stride *= 2

    def _end_day(self) -> Shift | None:
        if not self.edges:
            if self.first_day >= 0 and self.day - self.first_day + 1 >= _LEARN_DAYS:
                self._set_edges()
            return None
        compared = {at: row for at, row in self.today.items() if at in self.reference}
        shift = self._compare(compared)
        if self.level == 0:
            self._remember()
        self.today = {}
        self.expected = [0.0] * BINS
        return shift

    def _set_edges(self) -> None:
        if self.values < _LEAST_FOR_EDGES:
            return
        ordered = sorted(self.kept)
        self.edges = [ordered[len(ordered) * part // BINS] for part in range(1, BINS)]
        self.kept = []

    def _remember(self) -> None:
        for at, row in self.today.items():
            known = _ROW.unpack(self.reference[at]) if at in self.reference else (0.0,) * BINS
            learnt = (_KEPT_OF_REFERENCE * k + r for k, r in zip(known, row, strict=True))
            self.reference[at] = _ROW.pack(*learnt)

    def _compare(self, compared: dict[int, Row]) -> Shift | None:
        found = [sum(rows) for rows in zip(*compared.values(), strict=True)] or [0.0] * BINS
        count = sum(found)
        known = sum(sum(_ROW.unpack(self.reference[at])) for at in compared)
        if count < _LEAST_TO_COMPARE or known < _LEAST_TO_COMPARE:
            return None
        psi, ks = _psi(found, self.expected), _ks(found, self.expected)
        chance = 1.0 / count + 1.0 / known
        by_chance = _CHANCE_PSI * chance
        confirmed = ks > _CHANCE_KS * sqrt(chance)
        moved, watched = max(MOVED_PSI, by_chance), max(WATCH_PSI, by_chance)
        level = 2 if confirmed and psi >= moved else 1 if confirmed and psi >= watched else 0
        before, self.level = self.level, level
        self.moved_days = self.moved_days + 1 if level == 2 else 0
        if self.moved_days == _RETIRE_DAYS:
            # What is said to be over is learnt anew, or nothing could be told of what comes after it.
            self.level = self.moved_days = 0
            self.reference = {}
            return Shift(DriftTest.PSI, self.day, psi, moved, ks, Step.RETIRE_MODEL)
        if level == before:
            return None
        step = (None, Step.WATCH, Step.RE_BASELINE)[level]
        return Shift(DriftTest.PSI, self.day, psi, moved if level == 2 else watched, ks, step)


def _psi(found: Row, expected: Row) -> float:
    count, known = sum(found) + _SMOOTHING * BINS, sum(expected) + _SMOOTHING * BINS
    psi = 0.0
    for f, e in zip(found, expected, strict=True):
        now, then = (f + _SMOOTHING) / count, (e + _SMOOTHING) / known
        psi += (now - then) * log(now / then)
    return psi


def _ks(found: Row, expected: Row) -> float:
    count, known = sum(found), sum(expected)
    largest = now = then = 0.0
    for f, e in zip(found, expected, strict=True):
        now += f / count
        then += e / known
        largest = max(largest, abs(now - then))
    return largest
