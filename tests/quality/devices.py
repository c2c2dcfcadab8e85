"""Simulated devices for the promises on faults: healthy noise, and what may befall it."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.scoring.device import DeviceScore, DeviceScorer
from services.scoring.severity import ALARM_LINE
from services.scoring.spec import DEFAULT_SPEC
from tests.quality.clean_signals import START_S

Row = dict[str, float]
SENSORS = ("flow", "gas", "heat", "load", "noise", "power")


class Device:
    """A scorer with a clock of its own: one message each `step_s`."""

    def __init__(self, step_s: float = 1.0) -> None:
        self.scorer = DeviceScorer(DEFAULT_SPEC)
        self.step_us = round(step_s * 1e6)
        self.now_us = START_S * 1_000_000

    def told(self, rows: Sequence[Row]) -> Iterator[DeviceScore]:
        """What is said of each message."""
        for row in rows:
            self.now_us += self.step_us
            yield self.scorer.update(self.now_us, row)

    def scores(self, rows: Sequence[Row]) -> list[float]:
        """The score of each message."""
        return [said.score for said in self.told(rows)]

    def alarms(self, rows: Sequence[Row]) -> list[int]:
        """At which of the messages the device alarmed."""
        return [i for i, said in enumerate(self.told(rows)) if said.alarm_score >= ALARM_LINE]


def noise(numbers: np.random.Generator, count: int, mean: float = 20.0) -> list[Row]:
    """Messages of one healthy sensor, with a standard deviation of 1."""
    return [{"flow": value} for value in (mean + numbers.normal(size=count)).tolist()]


def coupled(numbers: np.random.Generator, count: int) -> list[Row]:
    """Messages of six healthy sensors that share a slow load, each with noise and a scale of its own."""
    load = np.zeros(count + 1)
    pushes = numbers.normal(size=count)
    for i, push in enumerate(pushes.tolist()):
        load[i + 1] = 0.98 * load[i] + 0.2 * push
    shares = np.linspace(0.5, 1.5, len(SENSORS))
    scales = 10.0 ** np.arange(-2, len(SENSORS) - 2)
    values = scales * (20.0 + np.outer(load[1:], shares) + 0.5 * numbers.normal(size=(count, len(SENSORS))))
    return [dict(zip(SENSORS, row, strict=True)) for row in values.tolist()]
