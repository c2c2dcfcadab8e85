"""Sensors together: is this combination unusual, though each reading alone is not?"""

from collections.abc import Collection, Mapping
from math import isnan, nan, sqrt
from typing import Final

from services.scoring.band import Band
from services.scoring.covariance import grown, learnt, learnt_apart, shrunk
from services.scoring.hotelling import FARTHEST, Precision, blame_of, precision_of, statistic_of
from services.scoring.largest import Largest
from services.scoring.pace import Pace

MOST_SENSORS: Final = 32
"""Sensors that are looked at together; later ones are scored alone."""

WINDOW: Final = 15
_LATELY: Final = 5
_OVER: Final = 3.0
_GATE: Final = 2.0
WARM_UP: Final = 400
_FIRST_ROWS: Final = 100
_FIRST_READINGS: Final = 30
_GAIN: Final = 1.0 / 400.0
_CREEP: Final = 1.0 / 1_000.0
_CREEP_LIMIT: Final = 3.0
_SPIKE: Final = 20.0
_REFRESH_EVERY: Final = 10
_LINE_PART: Final = 0.8
_GONE_ROWS: Final = 4_000.0
_EVIDENCE_WEIGHT: Final = 2.0
_HALF_LIFE_STEPS: Final = 4_000.0
_LN2: Final = 0.6931471805599453


class JointScorer:
    """Hotelling's T2 of short means of one device's sensors, which learns only what looks normal.

    A reading that leaps far is replaced by the median of the latest three, so no single one matters. d means x over
    the latest 15 rows are compared with their mean m and covariance C: t = (x - m)' C^-1 (x - m) / d, C^-1 taken anew
    every tenth row. A row with t <= 2 is learnt (as are the first 400 rows), with a memory of 400 rows; for any other,
    m creeps by a thousandth. Without that gate an online model takes in a fault within a minute. Sensors may be
    missing: t is then that of those in the window, in the measure of all (see `Largest`). Those met later join in after
    some 400 rows, those not met for 4,000 are dropped; neither moves what is held of the others. A row has two sensors
    at least: what a device sends sensor by sensor is no row.

    What is over must not be held against the rows that follow: where t is on the line, and the latest five rows alone
    would make less than a third of it, the means begin anew with these five. As a mean of n rows scatters more, its
    distance from m is taken by sqrt(n / 15) until there are fifteen again.

    In the first 400 rows any t is learnt. A mean of few readings goes far by one rare value, and a covariance of few
    rows knows none such: t may be thousands of times what it will be, and r with it, which hides faults for thousands
    of rows. Among n rows none has T2 over n by the covariance of all n (Wilks 1963); so where readings are missing, t
    is learnt as n / d at most.

    `score`: t / (t + 0.8 r), r the largest t met while learning (see `Largest`). `evidence`: how new t
    is as a record (see `Band`), for alarms within a budget. 0 both for fewer than two sensors and in the first 400
    rows.
    """

    __slots__ = (
        "_away",
        "_away_in_use",
        "_has_gone",
        "_leap",
        "_precision",
        "_precisions",
        "_seasoned",
        "_times",
        "_use",
        "_whole_rows",
        "basis",
        "covariance",
        "evidence",
        "largest",
        "means",
        "missed",
        "names",
        "old",
        "older",
        "pace",
        "places",
        "present",
        "record",
        "rows",
        "score",
        "seen",
        "window",
    )

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: dict[str, int] = {}
        self.rows = 0
        self.largest = Largest()
        self.record = Band(WINDOW, _FIRST_ROWS, one_sided=True)
        self.pace = Pace()
        self.means: list[float] = []
        self.covariance: list[list[float]] = []
        self.basis: list[list[float]] = []
        self.seen: list[float] = []
        self.missed: list[float] = []
        """By sensor: rows since it was met."""
        self.older: list[float] = []
        self.old: list[float] = []
        self.window: list[list[float]] = []
        """By sensor: its latest readings, 0 where it had none; `present` is 1 where it had."""
        self.present: list[list[float]] = []
        self.score = 0.0
        self.evidence = 0.0
        self._precisions: dict[int, Precision] = {}
        self._precision: Precision | None = None
        self._use: list[int] = []
        self._away: list[float] = []
        self._away_in_use: list[float] = []
        self._times = 1.0
        self._has_gone = False
        self._leap: list[float] = []
        self._seasoned = False
        self._whole_rows = 0

    def update(
        self,
        event_us: int,
        values: Mapping[str, float],
        left_out: Collection[str],
        allowance_s: float,
        *,
        learn: bool = True,
        open_gate: bool = False,
    ) -> None:
        """Score one row, then learn it.

        `left_out`: sensors to be taken as missing. `allowance_s`: alarms that a second may raise here. `open_gate`:
        learn whatever it is (a device that alarms all the time has been judged by too narrow a normal).
        """
        self.score = self.evidence = 0.0
        self._precision = None
        if learn:
            if self._has_gone:
                self._drop_gone()
            self._meet(values)
        if len(self.names) < 2:
            return
        row = self.rows
        if row == 0:
            self.pace.begin([event_us])
        self.pace.observe(event_us)
        have: list[bool] | None = None
        whole = self._whole_row(values) if learn and not left_out else None
        if whole is not None:
            statistic = self._judge_whole(whole)
        else:
            have, statistic = self._judge_any(values, left_out, learn=learn)
        measured = min(statistic * self._times, FARTHEST)
        if row >= WARM_UP and statistic > 0.0:
            self.score = measured / (measured + _LINE_PART * self.largest.value)
            if measured > self.record.high:
                allowance = allowance_s * self.pace.step_s
                self.evidence = _EVIDENCE_WEIGHT * self.record.novelty(measured, row, allowance)
        if not learn:
            return
        self.rows = row + 1
        if self.rows % _REFRESH_EVERY == 0:
            self.basis = self.covariance
            self._leap = []
            self._precisions.clear()
        if row < WARM_UP or statistic <= _GATE or open_gate:
            self._learn(have, statistic, measured)
        else:
            self._creep()

    def blame(self) -> dict[str, float]:
        """By sensor: its part in t of the latest row, as `blame_of` has it; none where t was not taken."""
        if self._precision is None:
            return {}
        parts = blame_of(self._away_in_use, self._precision)
        return {self.names[j]: part for j, part in zip(self._use, parts, strict=True)}

    def take_stock(self) -> None:
        """After its numbers were put in from outside: see which kind of row comes next."""
        self._whole_rows = WINDOW if all(map(all, self.present)) else 0
        self._seasoned = bool(self.names) and min(self.seen) >= WARM_UP
        self._has_gone = bool(self.names) and max(self.missed) >= _GONE_ROWS

    def _meet(self, values: Mapping[str, float]) -> None:
        places = self.places
        strange = [name for name in values if name not in places]
        if not strange:
            return
        before = len(self.names)
        for name in sorted(strange)[: MOST_SENSORS - before]:
            places[name] = len(self.names)
            self.names.append(name)
        more = len(self.names) - before
        if more:
            none = [0.0] * more
            self.means = self.means + none
            self.seen = self.seen + none
            self.missed = self.missed + none
            self.largest.without += [1.0] * more
            self.older = self.older + [nan] * more
            self.old = self.old + [nan] * more
            self.covariance = grown(self.covariance, more)
            self.basis = grown(self.basis, more)
            self.window += [[0.0] * WINDOW for _ in none]
            self.present += [[0.0] * WINDOW for _ in none]
            self._precisions.clear()
            self._leap = []
            self._seasoned = False
            self._whole_rows = 0

    def _drop_gone(self) -> None:
        for place in range(len(self.names) - 1, -1, -1):
            if self.missed[place] >= _GONE_ROWS:
                times = self.largest.drop(place)
                self.record.stretch(times)
                self.covariance, self.basis = shrunk(self.covariance, place), shrunk(self.basis, place)
                for numbers in (self.means, self.seen, self.missed, self.older, self.old):
                    del numbers[place]
                del self.names[place], self.window[place], self.present[place]
        self.places = {name: place for place, name in enumerate(self.names)}
        self._leap = []
        self._use = []
        self._precisions.clear()
        self.take_stock()

    def _whole_row(self, values: Mapping[str, float]) -> list[float] | None:
        """The row, if it and those of the window have all sensors, each known for long; else None.

        Most rows are such, and `_judge_whole` gives for them what `_judge_any` would, with a third of the work.
        """
        names = self.names
        if len(values) < len(names) or not self._seasoned or self._whole_rows < WINDOW:
            return None
        row: list[float] = []
        for name in names:
            if name not in values:
                return None
            row.append(_clamped(values[name]))
        return row

    def _judge_whole(self, latest: list[float]) -> float:
        leap = self._leap_limit()
        place = self.rows % WINDOW
        older, old, seen, means = self.older, self.old, self.seen, self.means
        away: list[float] = []
        for j in range(len(latest)):
            value, before = latest[j], old[j]
            if not abs(value - before) <= leap[j]:
                middle = _median(older[j], before, value)
                if not abs(value - middle) <= leap[j]:
                    value = middle
            column = self.window[j]
            column[place] = value
            total = 0.0
            for entry in column:
                total += entry
            away.append(total / WINDOW - means[j])
            seen[j] += 1.0
        self.older = old
        self.old = latest
        self._away = away
        if len(self._use) != len(away):
            self._use = list(range(len(away)))
        self._times = 1.0
        statistic = self._statistic()
        if self._is_over(self.window, self.present, statistic):
            self._forget_older(self.window, self.present)
            self._whole_rows = _LATELY
            statistic = self._measure(self.window, self.present)[2]
        return statistic

    def _judge_any(
        self, values: Mapping[str, float], left_out: Collection[str], *, learn: bool
    ) -> tuple[list[bool], float]:
        count = len(self.names)
        place = self.rows % WINDOW
        latest = [nan] * count
        for name, reading in values.items():
            j = self.places.get(name)
            if j is not None and name not in left_out:
                latest[j] = _clamped(reading)
        window, present = self.window, self.present
        if not learn:
            window, present = [column.copy() for column in window], [column.copy() for column in present]
        leap = self._leap_limit()
        for j in range(count):
            value, is_known = latest[j], not isnan(latest[j])
            if is_known and not isnan(self.older[j]) and not isnan(self.old[j]):
                middle = _median(self.older[j], self.old[j], value)
                if self.rows < _FIRST_ROWS or not abs(value - middle) <= leap[j]:
                    value = middle
            window[j][place] = value if is_known else 0.0
            present[j][place] = 1.0 if is_known else 0.0
        have, means, statistic = self._measure(window, present)
        is_over = self._is_over(window, present, statistic)
        if is_over:
            self._forget_older(window, present)
            have, means, statistic = self._measure(window, present)
        if learn:
            self.means = means
            is_whole = True
            for j in range(count):
                if isnan(latest[j]):
                    is_whole = False
                    self.missed[j] += 1.0
                    if self.missed[j] >= _GONE_ROWS:
                        self._has_gone = True
                else:
                    self.missed[j] = 0.0
                    self.older[j] = self.old[j]
                    self.old[j] = latest[j]
                if have[j]:
                    self.seen[j] += 1.0
            self._whole_rows = min(self._whole_rows + 1, _LATELY if is_over else WINDOW) if is_whole else 0
            self._seasoned = min(self.seen) >= WARM_UP
        return have, statistic

    def _leap_limit(self) -> list[float]:
        if not self._leap:
            self._leap = [_SPIKE * sqrt(row[j]) for j, row in enumerate(self.basis)]
        return self._leap

    def _measure(self, window: list[list[float]], present: list[list[float]]) -> tuple[list[bool], list[float], float]:
        """Which sensors the window has, their usual means, and t; sets how far they are from those."""
        have: list[bool] = []
        means: list[float] = []
        away: list[float] = []
        use: list[int] = []
        least = _FIRST_READINGS if self.rows < WARM_UP else WARM_UP - WINDOW
        for j in range(len(self.names)):
            filled = total = 0.0
            for entry in present[j]:
                filled += entry
            for entry in window[j]:
                total += entry
            mean, distance = self.means[j], 0.0
            if filled > 0.0:
                now = total / filled
                if self.seen[j] == 0.0:
                    mean = now
                distance = now - mean
                if self.seen[j] >= least:
                    use.append(j)
            have.append(filled > 0.0)
            means.append(mean)
            away.append(distance)
        if self.rows >= WINDOW:
            rows = _rows_with_any(present)
            if rows < WINDOW:
                closer = sqrt(rows / WINDOW)
                away = [distance * closer for distance in away]
        self._away = away
        self._use = use
        self._times = self.largest.times(use)
        return have, means, self._statistic() if use else 0.0

    def _is_over(self, window: list[list[float]], present: list[list[float]], statistic: float) -> bool:
        """Whether t is on the line, and the latest five rows alone would make less than a third of it."""
        if statistic * self._times < _LINE_PART * self.largest.value or self.rows < WARM_UP or self._precision is None:
            return False
        places = [(self.rows - k) % WINDOW for k in range(_LATELY)]
        places.sort()
        lately: list[float] = []
        for j in self._use:
            filled = total = 0.0
            for k in places:
                filled += present[j][k]
                total += window[j][k]
            lately.append(total / filled - self.means[j] if filled > 0.0 else self._away[j])
        return _OVER * statistic_of(lately, self._precision) < statistic

    def _forget_older(self, window: list[list[float]], present: list[list[float]]) -> None:
        """Begin the means anew with the latest five rows."""
        for k in range(_LATELY, WINDOW):
            place = (self.rows - k) % WINDOW
            for j in range(len(window)):
                window[j][place] = present[j][place] = 0.0

    def _statistic(self) -> float:
        """T of the sensors in use."""
        use, away = self._use, self._away
        is_all = len(use) == len(away)
        key = 0
        if not is_all:
            for j in use:
                key |= 1 << j
        precision = self._precisions.get(key)
        if precision is None:
            chosen = self.basis if is_all else [[self.basis[i][j] for j in use] for i in use]
            precision = self._precisions[key] = precision_of(chosen)
        self._precision = precision
        chosen_away = self._away_in_use = away if is_all else [away[j] for j in use]
        return statistic_of(chosen_away, precision)

    def _learn(self, have: list[bool] | None, statistic: float, measured: float) -> None:
        """`have`: the sensors with readings in the window; None for all, each known for long."""
        away, means = self._away, self.means
        if have is None:
            self.means = [mean + _GAIN * distance for mean, distance in zip(means, away, strict=True)]
            self.covariance = learnt(self.covariance, away, _GAIN)
        else:
            gains: list[float] = []
            for there, seen in zip(have, self.seen, strict=True):
                gains.append(max(1.0 / max(seen, 1.0), _GAIN) if there else 0.0)
            self.means = [means[j] + gains[j] * away[j] for j in range(len(means))]
            if all(have) and min(self.seen) == max(self.seen):
                self.covariance = learnt(self.covariance, away, max(1.0 / self.rows, _GAIN))
            else:
                self.covariance = learnt_apart(self.covariance, away, gains)
        if self.rows > _FIRST_ROWS:
            if self._use and self.rows <= WARM_UP and not all(map(all, self.present)):
                statistic = min(statistic, self.rows / len(self._use))
                measured = min(statistic * self._times, FARTHEST)
            if self._precision is not None:
                self.largest.learn(statistic, self._times, self._use, self._away_in_use, self._precision)
            if measured > self.record.high:
                self.record.learn(measured, self.rows)
            self.record.relax(measured, self.rows, _LN2 / _HALF_LIFE_STEPS, _HALF_LIFE_STEPS / _LN2)

    def _creep(self) -> None:
        crept: list[float] = []
        for j, mean in enumerate(self.means):
            limit = _CREEP_LIMIT * sqrt(self.covariance[j][j])
            crept.append(mean + _CREEP * min(max(self._away[j], -limit), limit))
        self.means = crept


def _clamped(value: float) -> float:
    if -FARTHEST <= value <= FARTHEST:
        return value
    return FARTHEST if value > 0.0 else -FARTHEST


def _rows_with_any(present: list[list[float]]) -> int:
    rows = 0
    for k in range(WINDOW):
        for column in present:
            if column[k] > 0.0:
                rows += 1
                break
    return rows


def _median(first: float, second: float, third: float) -> float:
    if first > second:
        first, second = second, first
    return max(first, min(second, third))
