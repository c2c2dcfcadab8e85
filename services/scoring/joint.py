"""Sensors together: is this combination unusual, though each reading alone is not?"""

from collections.abc import Collection, Mapping
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from services.scoring.band import Band
from services.scoring.hotelling import FARTHEST, Numbers, Precision, blame_of, precision_of, statistic_of
from services.scoring.pace import Pace
from services.scoring.state import Codec, State, StateUnreadable, encode, register, restore

_Chosen = NDArray[np.bool_]

MOST_SENSORS = 32
"""Sensors that are looked at together; later ones are scored alone."""

_WINDOW = 15
_LATELY = 5
_OVER = 3.0
_GATE = 2.0
_WARM_UP = 400
_FIRST_ROWS = 100
_FIRST_READINGS = 30
_GAIN = 1.0 / 400.0
_CREEP = 1.0 / 1_000.0
_CREEP_LIMIT = 3.0
_SPIKE = 20.0
_REFRESH_EVERY = 10
_LINE_PART = 0.8
_FORGET = 0.9995
_EVIDENCE_WEIGHT = 2.0
_HALF_LIFE_STEPS = 4_000.0
_LN2 = 0.6931471805599453


class JointScorer:
    """Hotelling's T2 of short means of one device's sensors, which learns only what looks normal.

    A reading that leaps far is replaced by the median of the latest three, so no single one matters. d means x over
    the latest 15 rows are compared with their mean m and covariance C: t = (x - m)' C^-1 (x - m) / d, C^-1 taken anew
    every tenth row. A row with t <= 2 is learnt (as are the first 400 rows), with a memory of 400 rows; for any other,
    m creeps by a thousandth. Without that gate an online model takes in a fault within a minute. Sensors may be
    missing: t is then that of those present. Those met later join in after some 400 rows. A row has two sensors at
    least: what a device sends sensor by sensor is no row.

    What is over must not be held against the rows that follow: where t is on the line, and the latest five rows alone
    would make less than a third of it, the means begin anew with these five. As a mean of n rows scatters more, its
    distance from m is taken by sqrt(n / 15) until there are fifteen again.

    `score`: t / (t + 0.8 r), r the largest t met while learning, forgotten over some 2,000 rows. `evidence`: how new t
    is as a record (see `Band`), for alarms within a budget. 0 both for fewer than two sensors and in the first 400
    rows.
    """

    __slots__ = (
        "_latest",
        "_leap",
        "_precisions",
        "_seasoned",
        "_whole_rows",
        "basis",
        "covariance",
        "earlier",
        "evidence",
        "largest",
        "means",
        "names",
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
        self.largest = 1.0
        self.record = Band(_WINDOW, _FIRST_ROWS, one_sided=True)
        self.pace = Pace()
        self.means = np.zeros(0)
        self.covariance = np.zeros((0, 0))
        self.basis = np.zeros((0, 0))
        self.seen = np.zeros(0)
        self.earlier = np.zeros((2, 0))
        self.window = np.zeros((_WINDOW, 0))
        self.present = np.zeros((_WINDOW, 0))
        self.score = 0.0
        self.evidence = 0.0
        self._precisions: dict[bytes, Precision] = {}
        self._latest: tuple[Numbers, _Chosen | None, Precision] | None = None
        self._leap: Numbers | None = None
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
        self._latest = None
        if learn:
            self._meet(values)
        if len(self.names) < 2:
            return
        row = self.rows
        if row == 0:
            self.pace.begin([event_us])
        self.pace.observe(event_us)
        whole = self._whole_row(values) if learn and not left_out else None
        if whole is not None:
            have = None
            away, statistic = self._judge_whole(whole)
        else:
            have, away, statistic = self._judge_any(values, left_out, learn=learn)
        if row >= _WARM_UP and statistic > 0.0:
            self.score = statistic / (statistic + _LINE_PART * self.largest)
            if statistic > self.record.high:
                allowance = allowance_s * self.pace.step_s
                self.evidence = _EVIDENCE_WEIGHT * self.record.novelty(statistic, row, allowance)
        if not learn:
            return
        self.rows = row + 1
        if self.rows % _REFRESH_EVERY == 0:
            self.basis = self.covariance
            self._leap = None
            self._precisions.clear()
        if row < _WARM_UP or statistic <= _GATE or open_gate:
            self._learn(away, have, statistic)
        else:
            limit = _CREEP_LIMIT * np.sqrt(np.diagonal(self.covariance))
            self.means = self.means + _CREEP * np.clip(away, -limit, limit)

    def blame(self) -> dict[str, float]:
        """By sensor: its part in t of the latest row, as `blame_of` has it; none where t was not taken."""
        if self._latest is None:
            return {}
        away, use, precision = self._latest
        parts = blame_of(away if use is None else away[use], precision)
        names = self.names if use is None else [name for name, used in zip(self.names, use, strict=True) if used]
        return dict(zip(names, parts.tolist(), strict=True))

    def _meet(self, values: Mapping[str, float]) -> None:
        strange = [name for name in values if name not in self.places]
        if not strange:
            return
        for name in sorted(strange)[: MOST_SENSORS - len(self.names)]:
            self.places[name] = len(self.names)
            self.names.append(name)
        more = len(self.names) - len(self.means)
        if more:
            self.means = np.pad(self.means, (0, more))
            self.seen = np.pad(self.seen, (0, more))
            self.covariance = np.pad(self.covariance, ((0, more), (0, more)))
            self.basis = np.pad(self.basis, ((0, more), (0, more)))
            self.earlier = np.pad(self.earlier, ((0, 0), (0, more)), constant_values=np.nan)
            self.window = np.pad(self.window, ((0, 0), (0, more)))
            self.present = np.pad(self.present, ((0, 0), (0, more)))
            self._precisions.clear()
            self._leap = None
            self._seasoned = False
            self._whole_rows = 0

    def _whole_row(self, values: Mapping[str, float]) -> Numbers | None:
        """The row, if it and those of the window have all sensors, each known for long; else None.

        Most rows are such, and `_judge_whole` gives for them what `_judge_any` would, with a third of the work.
        """
        names = self.names
        if len(values) < len(names) or not self._seasoned or self._whole_rows < _WINDOW:
            return None
        try:
            return np.array([max(-FARTHEST, min(FARTHEST, values[name])) for name in names])
        except KeyError:
            return None

    def _judge_whole(self, latest: Numbers) -> tuple[Numbers, float]:
        older, old = self.earlier
        leap = self._leap_limit()
        entry = latest
        if not (np.abs(latest - old) <= leap).all():
            middle = np.maximum(np.minimum(older, old), np.minimum(np.maximum(older, old), latest))
            entry = np.where(np.abs(latest - middle) <= leap, latest, middle)
        self.window[self.rows % _WINDOW] = entry
        self.earlier[0] = old
        self.earlier[1] = latest
        self.seen += 1.0
        away = self.window.sum(0) / _WINDOW - self.means
        statistic = self._statistic(away, None)
        if self._is_over(self.window, self.present, away, statistic):
            self._forget_older(self.window, self.present)
            self._whole_rows = _LATELY
            _, _, away, statistic = self._measure(self.window, self.present)
        return away, statistic

    def _judge_any(
        self, values: Mapping[str, float], left_out: Collection[str], *, learn: bool
    ) -> tuple[_Chosen, Numbers, float]:
        place = self.rows % _WINDOW
        readings = [nan] * len(self.names)
        places = self.places
        for name, value in values.items():
            j = places.get(name)
            if j is not None and name not in left_out:
                readings[j] = max(-FARTHEST, min(FARTHEST, value))
        latest = np.array(readings)
        known = ~np.isnan(latest)
        older, old = self.earlier
        middle = np.maximum(np.minimum(older, old), np.minimum(np.maximum(older, old), latest))
        settled = np.isnan(middle)
        if self.rows >= _FIRST_ROWS:
            settled |= np.abs(latest - middle) <= self._leap_limit()
        window, present = self.window.copy(), self.present.copy()
        window[place] = np.where(known, np.where(settled, latest, middle), 0.0)
        present[place] = known
        have, means, away, statistic = self._measure(window, present)
        if over := self._is_over(window, present, away, statistic):
            self._forget_older(window, present)
            have, means, away, statistic = self._measure(window, present)
        if learn:
            self.window, self.present, self.means = window, present, means
            self.earlier = np.array([np.where(known, old, older), np.where(known, latest, old)])
            self.seen = self.seen + have
            self._whole_rows = min(self._whole_rows + 1, _LATELY if over else _WINDOW) if known.all() else 0
            self._seasoned = bool(self.seen.min() >= _WARM_UP)
        return have, away, statistic

    def _leap_limit(self) -> Numbers:
        if self._leap is None:
            self._leap = _SPIKE * np.sqrt(np.diagonal(self.basis))
        return self._leap

    def _measure(self, window: Numbers, present: Numbers) -> tuple[_Chosen, Numbers, Numbers, float]:
        """Which sensors the window has, their usual means, how far they are from those, and t."""
        filled = present.sum(0)
        have = filled > 0.0
        now = window.sum(0) / np.maximum(filled, 1.0)
        means = np.where(have & (self.seen == 0.0), now, self.means)
        away = np.where(have, now - means, 0.0)
        rows = present.any(1).sum()
        if rows < _WINDOW <= self.rows:
            away *= sqrt(rows / _WINDOW)
        use = have & (self.seen >= (_FIRST_READINGS if self.rows < _WARM_UP else _WARM_UP - _WINDOW))
        return have, means, away, self._statistic(away, use) if use.any() else 0.0

    def _is_over(self, window: Numbers, present: Numbers, away: Numbers, statistic: float) -> bool:
        """Whether t is on the line, and the latest five rows alone would make less than a third of it."""
        if statistic < _LINE_PART * self.largest or self.rows < _WARM_UP or self._latest is None:
            return False
        _, use, precision = self._latest
        places = [(self.rows - k) % _WINDOW for k in range(_LATELY)]
        filled = present[places].sum(0)
        lately = np.where(filled > 0.0, window[places].sum(0) / np.maximum(filled, 1.0) - self.means, away)
        return _OVER * statistic_of(lately if use is None else lately[use], precision) < statistic

    def _forget_older(self, window: Numbers, present: Numbers) -> None:
        """Begin the means anew with the latest five rows."""
        places = [(self.rows - k) % _WINDOW for k in range(_LATELY, _WINDOW)]
        window[places] = 0.0
        present[places] = 0.0

    def _statistic(self, away: Numbers, use: _Chosen | None) -> float:
        """`use`: the sensors that count; None for all."""
        if use is not None and use.all():
            use = None
        key = b"" if use is None else use.tobytes()
        precision = self._precisions.get(key)
        if precision is None:
            chosen = self.basis if use is None else self.basis[np.ix_(use, use)]
            precision = self._precisions[key] = precision_of(chosen)
        self._latest = away, use, precision
        return statistic_of(away if use is None else away[use], precision)

    def _learn(self, away: Numbers, have: _Chosen | None, statistic: float) -> None:
        """`have`: the sensors with readings in the window; None for all, each known for long."""
        if have is None:
            self.means = self.means + _GAIN * away
            self.covariance = (1.0 - _GAIN) * (self.covariance + _GAIN * np.multiply.outer(away, away))
        else:
            gains = np.where(have, np.maximum(1.0 / np.maximum(self.seen, 1.0), _GAIN), 0.0)
            self.means = self.means + gains * away
            if have.all() and self.seen.min() == self.seen.max():
                gain = max(1.0 / self.rows, _GAIN)
                self.covariance = (1.0 - gain) * (self.covariance + gain * np.multiply.outer(away, away))
            else:
                both = np.where(np.logical_and.outer(have, have), np.maximum.outer(gains, gains), 0.0)
                self.covariance = (1.0 - both) * (self.covariance + both * np.multiply.outer(away, away))
        if self.rows > _FIRST_ROWS:
            self.largest = max(self.largest * _FORGET, statistic)
            if statistic > self.record.high:
                self.record.learn(statistic, self.rows)
            self.record.relax(statistic, self.rows, _LN2 / _HALF_LIFE_STEPS, _HALF_LIFE_STEPS / _LN2)


_NUMBERS = ("means", "seen", "covariance", "basis", "earlier", "window", "present")


def _encode_joint(joint: JointScorer) -> list[State]:
    arrays = [getattr(joint, name).astype("<f8").tobytes() for name in _NUMBERS]
    return [joint.names.copy(), joint.rows, joint.largest, encode(joint.record), encode(joint.pace), arrays]


def _restore_joint(joint: JointScorer, fields: object) -> None:
    match fields:
        case [list(names), int(rows), float(largest), list(record), list(pace), list(arrays)]:
            pass
        case _:
            raise StateUnreadable("joint: expected names, rows, largest, record, pace, arrays")
    if not all(isinstance(name, str) for name in names) or len(names) > MOST_SENSORS or len(arrays) != len(_NUMBERS):
        raise StateUnreadable("joint: expected sensors' names and seven arrays")
    joint._meet(dict.fromkeys(names, 0.0))  # noqa: SLF001 - its own codec
    joint.names = names.copy()
    joint.places = {name: place for place, name in enumerate(names)}
    for name, packed in zip(_NUMBERS, arrays, strict=True):
        shape = getattr(joint, name).shape
        if not isinstance(packed, bytes) or len(packed) != 8 * int(np.prod(shape)):
            raise StateUnreadable(f"joint: expected {shape} numbers for {name}")
        setattr(joint, name, np.frombuffer(packed, "<f8").reshape(shape).astype(np.float64))
    joint.rows = rows
    joint.largest = largest
    if names:
        joint._whole_rows = _WINDOW if joint.present.all() else 0  # noqa: SLF001 - its own codec
        joint._seasoned = bool(joint.seen.min() >= _WARM_UP)  # noqa: SLF001 - its own codec
    restore(joint.record, record)
    restore(joint.pace, pace)


register(JointScorer, Codec("joint.1", _encode_joint, _restore_joint))
