"""Single runs of what is promised of the scores; see `promises`."""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from services.scoring.device import DeviceScorer
from services.scoring.explain import sentence
from services.scoring.severity import ALARM_LINE
from services.scoring.spec import DEFAULT_SPEC
from tests.quality.clean_signals import DAY_S, WEEK_S, clean_signal
from tests.quality.devices import SENSORS, Device, Row, coupled, noise

WITHIN_READINGS = 6
SETTLED_AFTER = 80
"""Messages after a disturbance that still have it in their averages."""
NO_DIFFERENCE = 0.02


def alarms_of_clean_data(kind: str, step_s: float, seed: int, days: float = 7.0) -> float:
    """Alarms a week of a healthy sensor, after its first day."""
    scorer = DeviceScorer(DEFAULT_SPEC)
    times_us, values = clean_signal(kind, step_s, seed, days)
    first_day_us = times_us[0] + DAY_S * 1_000_000
    alarms = 0
    for event_us, value in zip(times_us, values, strict=True):
        said = scorer.update(event_us, {"flow": value})
        alarms += said.alarm_score >= ALARM_LINE and event_us >= first_day_us
    return alarms * WEEK_S / ((days - 1.0) * DAY_S)


def step_is_found(history: int, step_s: float, seed: int, deviations: float = 10.0) -> bool:
    """Whether a lasting step raises an alarm within six readings."""
    numbers = np.random.default_rng([seed, history, 1])
    device = Device(step_s)
    device.alarms(noise(numbers, history))
    side = 1.0 if seed % 2 else -1.0
    return bool(device.alarms(noise(numbers, WITHIN_READINGS, 20.0 + side * deviations)))


def drift_is_found(history: int, step_s: float, seed: int, readings: int = 500, deviations: float = 4.0) -> bool:
    """Whether a slow drift raises an alarm before it ends."""
    numbers = np.random.default_rng([seed, history, 2])
    device = Device(step_s)
    device.alarms(noise(numbers, history))
    drift = numbers.normal(size=readings) + 20.0 + deviations * np.arange(1, readings + 1) / readings
    return bool(device.alarms([{"flow": value} for value in drift.tolist()]))


def long_fault_is_scored_at_its_end(step_s: float, seed: int, readings: int = 1_000) -> bool:
    """Whether the last ten readings of a long step are still scored as a fault."""
    numbers = np.random.default_rng([seed, 3])
    device = Device(step_s)
    device.scores(noise(numbers, 3_000))
    return min(device.scores(noise(numbers, readings, 30.0))[-10:]) >= ALARM_LINE


def adopted_after_s(step_s: float, seed: int, longest_s: float) -> float:
    """Seconds until a lasting step is no longer scored as a fault; inf if it was not adopted within `longest_s`."""
    numbers = np.random.default_rng([seed, 4])
    device = Device(step_s)
    device.scores(noise(numbers, 3_000))
    adopted, latest = False, 0
    for i, said in enumerate(device.told(noise(numbers, int(longest_s / step_s), 30.0))):
        adopted = adopted or bool(said.adopted)
        if said.score >= ALARM_LINE:
            latest = i
    return (latest + 1) * step_s if adopted else float("inf")


def stuck_is_found(kind: str, step_s: float, seed: int, history: int) -> bool:
    """Whether a sensor that stands still alarms within its patience: 200 readings, or five of its longest runs."""
    _, values = clean_signal(kind, step_s, seed, history * step_s / DAY_S)
    device = Device(step_s)
    device.scores([{"flow": value} for value in values])
    patience = max(200, 5 * max(len(list(run)) for _, run in groupby(values)))
    return bool(device.alarms([{"flow": values[-1]}] * patience))


def _nan(_: list[Row], befallen: list[Row], at: int) -> Iterable[int]:
    del befallen[at]["heat"]  # cleaning leaves out what is not a finite number
    return range(at + SETTLED_AFTER, len(befallen))


def _absurd(_: list[Row], befallen: list[Row], at: int) -> Iterable[int]:
    befallen[at]["heat"] = 1e300
    return range(at + SETTLED_AFTER, len(befallen))


def _added(_: list[Row], befallen: list[Row], at: int) -> Iterable[int]:
    """Comes, is learnt (385 messages), goes: while it is part of what is judged, the two are asked different things."""
    gone = at + 500
    for row, value in zip(befallen[at:gone], np.random.default_rng(9).normal(size=gone - at).tolist(), strict=True):
        row["extra"] = value
    return [*range(at, at + 380), *range(gone + SETTLED_AFTER, len(befallen))]


def _gone(without: list[Row], befallen: list[Row], at: int) -> Iterable[int]:
    """Beside a device that never had it: so both are asked the same."""
    for row in [*without, *befallen[at:]]:
        del row["heat"]
    return range(at + SETTLED_AFTER, len(befallen))


def _missing(_: list[Row], befallen: list[Row], at: int) -> Iterable[int]:
    numbers = np.random.default_rng(10)
    for row in befallen[at : at + 200]:
        for name in SENSORS:
            if numbers.random() < 0.3:
                del row[name]
    return range(at + 200 + SETTLED_AFTER, len(befallen))


DISTURBANCES: Mapping[str, Callable[[list[Row], list[Row], int], Iterable[int]]] = MappingProxyType(
    {
        "one NaN": _nan,
        "one 1e300": _absurd,
        "a field added late": _added,
        "a field gone for ever": _gone,
        "200 messages with 30 % of the fields missing": _missing,
    }
)
"""By name: befalls the second of two like devices at a message, and says at which messages the two are compared."""


class Difference(NamedTuple):
    """Between the scores of two devices: at most, of the device and of a sensor; part of all that differ by 0.02."""

    of_device: float
    of_sensors: float
    part: float


def poisoning(what: str, seed: int, history: int = 1_000, after: int = 1_300) -> Difference:
    """How later scores differ from those of a device that it did not befall.

    "Later" begins 80 messages after the disturbance, where it ends. Compared is what both devices have: their common
    sensors' scores, and the larger of these and of the sensors' together.
    """
    without, befallen = (coupled(np.random.default_rng([seed, 5]), history + after) for _ in range(2))
    compared = set(DISTURBANCES[what](without, befallen, history))
    device, other = Device(), Device()
    of_device: list[float] = []
    of_sensors: list[float] = []
    for i, (one, two) in enumerate(zip(device.told(without), other.told(befallen), strict=True)):
        if i not in compared:
            continue
        common = sorted(one.sensors.keys() & two.sensors.keys())
        of_sensors += [abs(one.sensors[name].score - two.sensors[name].score) for name in common]
        whole = [
            max(who.scorer.together, *(said.sensors[name].score for name in common))
            for who, said in ((device, one), (other, two))
        ]
        of_device.append(abs(whole[0] - whole[1]))
    differ = [difference >= NO_DIFFERENCE for difference in of_device + of_sensors]
    return Difference(max(of_device), max(of_sensors), sum(differ) / len(differ))


FAULTS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = MappingProxyType(
    {
        "spike": lambda values, _: values + 8.0 * (np.arange(len(values)) == 0),
        "step": lambda values, _: values + 5.0,
        "drift": lambda values, _: values + np.linspace(0.0, 6.0, len(values)),
        "noisier": lambda values, numbers: values + 4.0 * numbers.normal(size=len(values)),
    }
)


def culprit_is_right(fault: str, seed: int, history: int = 1_500, lasts: int = 200) -> tuple[bool, bool, float]:
    """Whether a fault of one of six sensors raises an alarm; whether the culprit is right; milliseconds to say so."""
    numbers = np.random.default_rng([seed, list(FAULTS).index(fault), 6])
    rows = coupled(numbers, history + lasts)
    name = SENSORS[int(numbers.integers(len(SENSORS)))]
    usual = np.array([row[name] for row in rows])
    spread = float(usual[:history].std())
    broken = FAULTS[fault](usual[history:] / spread, numbers) * spread
    for row, value in zip(rows[history:], broken.tolist(), strict=True):
        row[name] = value
    device = Device()
    device.scores(rows[:history])
    for said in device.told(rows[history:]):
        if said.alarm_score >= ALARM_LINE:
            began = time.perf_counter()
            culprits = device.scorer.culprits()
            sentence("pump-1", culprits, said.alarm_score)
            return True, culprits[0].sensor == name, 1e3 * (time.perf_counter() - began)
    return False, False, 0.0
