"""One device's drift: of its sensors against what they are at that hour of the day, and of its score.

Looked at is the first reading of each sensor in each minute, so that a reading costs next to nothing; tested are the
means of these over each hour (UTC).
"""

import struct
from typing import NamedTuple

import msgspec

from schemas.model_event import DriftTest, Step
from services.scoring.drift.hours import HOUR_US, KINDS_OF_HOUR, kind_of_hour
from services.scoring.drift.page_hinkley import PageHinkley

MINUTE_US = 60_000_000
OF_DEVICE = ""
"""In the place of a sensor: the device's score."""
RESIDUAL_THRESHOLD = 96.0
"""In usual deviations times hours, beyond 0.5 of each. On simulated hourly means: none in 26 weeks of noise, daily and
weekly cycles, one in six weeks of weather-like swings of days; a step of two deviations is found after five days, one
of four after two."""
SCORE_THRESHOLD = 6.0
"""In score times hours: a mean score that has risen by a half shows after some 13 hours."""

_ALL = 1_000_000
_WHOLE_MINUTES = 16
_RESIDUAL_TOLERATED = 0.5
_SCORE_TOLERATED = 0.05
_MOST_DEVIATIONS = 4.0
_FIRST_RESIDUALS = 48
_FIRST_SCORES = 24
_MEMORY_RESIDUALS = 336
_MEMORY_VISITS = 28
_MEAN_ABSOLUTE = 1.2533141373155001
"""A normal deviation, in mean absolute ones: sqrt(pi / 2)."""
_SOON_H = 7 * 24
_AGAIN_H = 28 * 24
_OFTEN = 3
_FLOAT = struct.Struct("<f")


class Drift(NamedTuple):
    """A drift that was found. `rises`: to higher values. `lasted_h`: hours for which the statistic has been growing."""

    test: DriftTest
    statistic: float
    threshold: float
    rises: bool
    lasted_h: int
    step: Step


class HourMean(NamedTuple):
    """An hour of a sensor (or of `OF_DEVICE`) that is over: its number since 1970, its mean, the drift it showed."""

    sensor: str
    hour: int
    mean: float
    drift: Drift | None


class SensorWatch(msgspec.Struct, array_like=True, gc=False):
    """One sensor. `usual` and `visits`: what it is at each kind of hour (float32), and how many hours taught that.

    `scale`: mean absolute residual; `seen`: residuals so far. `drifted`: hour of the last drift, 0: none yet.
    """

    minute: int = 0
    hour: int = 0
    total: float = 0.0
    count: int = 0
    usual: bytes = b""
    visits: bytes = b""
    scale: float = 0.0
    seen: int = 0
    test: PageHinkley = msgspec.field(default_factory=PageHinkley)
    drifted: int = 0

    def judge(self, hour: int, mean: float, score_drifted: int) -> Drift | None:
        """Take an hour's mean. After a drift the test, and what is usual, are learnt anew.

        `score_drifted`: hour of the latest drift of the device's score, 0: none.
        """
        if not self.visits:
            # Not before an hour is over: names that somebody invents must cost little.
            self.usual = bytes(_FLOAT.size * KINDS_OF_HOUR)
            self.visits = bytes(KINDS_OF_HOUR)
        kind = kind_of_hour(hour)
        visits = self.visits[kind]
        if not visits:
            self._teach(kind, mean, 1)
            return None
        (usual,) = _FLOAT.unpack_from(self.usual, kind * _FLOAT.size)
        residual = mean - usual
        if self.seen >= _FIRST_RESIDUALS:
            self.test.add(self._deviations(residual), _RESIDUAL_TOLERATED)
            drift = self._drift(hour, score_drifted)
            if drift is not None:
                self.drifted = hour
                self._forget()
                self._teach(kind, mean, 1)
                return drift
        self.seen += 1
        self.scale += (abs(residual) - self.scale) / min(self.seen, _MEMORY_RESIDUALS)
        visits = min(visits + 1, _MEMORY_VISITS)
        self._teach(kind, usual + residual / visits, visits)
        return None

    def _deviations(self, residual: float) -> float:
        if residual == 0.0:
            return 0.0
        most = _MOST_DEVIATIONS if residual > 0.0 else -_MOST_DEVIATIONS
        deviation = _MEAN_ABSOLUTE * self.scale
        # A constant has no deviation: whatever is not the same is far.
        return residual / deviation if abs(residual) < _MOST_DEVIATIONS * deviation else most

    def _drift(self, hour: int, score_drifted: int) -> Drift | None:
        test = self.test
        rises = test.rise >= test.fall
        statistic = test.rise if rises else test.fall
        if statistic < RESIDUAL_THRESHOLD:
            return None
        again = self.drifted and hour - self.drifted <= _AGAIN_H
        misfit = score_drifted and hour - score_drifted <= _SOON_H
        step = Step.RE_BASELINE if again or misfit else Step.WATCH
        lasted_h = test.rise_for if rises else test.fall_for
        return Drift(DriftTest.PAGE_HINKLEY_RESIDUAL, statistic, RESIDUAL_THRESHOLD, rises, lasted_h, step)

    def _teach(self, kind: int, usual: float, visits: int) -> None:
        # Sensors say up to 1e100; what no float32 holds is as far as one goes.
        told = _FLOAT.pack(max(-3e38, min(3e38, usual)))
        at = kind * _FLOAT.size
        self.usual = self.usual[:at] + told + self.usual[at + _FLOAT.size :]
        self.visits = self.visits[:kind] + bytes((visits,)) + self.visits[kind + 1 :]

    def _forget(self) -> None:
        self.visits = bytes(KINDS_OF_HOUR)
        self.scale = 0.0
        self.seen = 0
        self.test = PageHinkley()


class DeviceWatch(msgspec.Struct, array_like=True, gc=False):
    """One device. `due_us`: before this event time nothing is to be looked at.

    `left`: sensors still to be looked at in this minute, as many as in the one before; each 16th minute is looked at to
    its end, for sensors that were not met before. `drifts`: hours of the score's latest drifts.
    """

    due_us: int = 0
    minute: int = 0
    left: int = 0
    met: int = 0
    hour: int = 0
    total: float = 0.0
    count: int = 0
    seen: int = 0
    test: PageHinkley = msgspec.field(default_factory=PageHinkley)
    drifts: list[int] = []
    sensors: dict[str, SensorWatch] = {}

    def look(self, event_us: int, values: dict[str, float], score: float) -> list[HourMean]:
        """Look at readings in order, with the device's score; the hours that are over by now. From `due_us` on only."""
        minute = event_us // MINUTE_US
        hour = event_us // HOUR_US
        over: list[HourMean] = []
        if minute > self.minute:
            self.minute = minute
            self.left = _ALL if minute % _WHOLE_MINUTES == 0 or not self.met else self.met
            self.met = 0
            self._look_at_score(hour, score, over)
        sensors = self.sensors
        for name, value in values.items():
            sensor = sensors.get(name)
            if sensor is None:
                sensor = sensors[name] = SensorWatch(hour=hour)
            if sensor.minute < minute:
                sensor.minute = minute
                self.met += 1
                self.left -= 1
                if hour > sensor.hour:
                    if sensor.count:
                        mean = sensor.total / sensor.count
                        latest = self.drifts[-1] if self.drifts else 0
                        over.append(HourMean(name, sensor.hour, mean, sensor.judge(sensor.hour, mean, latest)))
                    sensor.hour, sensor.total, sensor.count = hour, 0.0, 0
                sensor.total += value
                sensor.count += 1
        if self.left <= 0:
            self.due_us = (minute + 1) * MINUTE_US
        return over

    def forget(self, sensor: str | None) -> None:
        """Watch a sensor (None: the whole device) anew: an operator has said that it is another one now."""
        self.seen = self.count = 0
        self.total = 0.0
        self.test = PageHinkley()
        if sensor is None:
            self.sensors = {}
        else:
            self.sensors.pop(sensor, None)

    def _look_at_score(self, hour: int, score: float, over: list[HourMean]) -> None:
        if hour > self.hour:
            if self.count:
                mean = self.total / self.count
                over.append(HourMean(OF_DEVICE, self.hour, mean, self._judge(mean)))
            self.hour, self.total, self.count = hour, 0.0, 0
        self.total += score
        self.count += 1

    def _judge(self, mean: float) -> Drift | None:
        self.seen += 1
        if self.seen <= _FIRST_SCORES:
            return None
        test = self.test
        test.add(mean, _SCORE_TOLERATED)
        if test.rise < SCORE_THRESHOLD:
            return None
        recent = [hour for hour in self.drifts if self.hour - hour <= _AGAIN_H]
        self.drifts = [*recent[-(_OFTEN - 1) :], self.hour]
        step = Step.RETIRE_MODEL if len(self.drifts) >= _OFTEN else Step.RE_BASELINE
        drift = Drift(
            DriftTest.PAGE_HINKLEY_SCORE, test.rise, SCORE_THRESHOLD, rises=True, lasted_h=test.rise_for, step=step
        )
        self.seen = 0
        self.test = PageHinkley()
        return drift
