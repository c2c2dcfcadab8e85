"""When faults strike: those asked for, and random ones without end. Pure."""

import heapq
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from services.runtime.errors import ConfigurationError
from services.simulator.faults import EVERY, OF_SENSORS, Fault, FaultKind, parse

RANDOM: Final = "random"
SLOT: Final = 60.0
"""Random faults: one begins in each slot, in units of time (a second, or a message interval where that is longer)."""
QUIET: Final = 120.0
"""Units that a device has to itself between two random faults."""

_RANDOM_KINDS: Final[tuple[tuple[FaultKind, int, tuple[float, float], tuple[float, ...]], ...]] = (
    (FaultKind.SPIKE, 4, (0.5, 2.5), (8.0, 12.0, -10.0)),
    (FaultKind.STEP, 4, (30.0, 90.0), (5.0, 8.0, -6.0)),
    (FaultKind.DRIFT, 3, (60.0, 120.0), (8.0, 12.0, -10.0)),
    (FaultKind.STUCK, 2, (60.0, 120.0), ()),
    (FaultKind.DROP_OUT, 2, (15.0, 45.0), ()),
    (FaultKind.NAN, 1, (6.0, 15.0), ()),
    (FaultKind.CLOCK_JUMP, 1, (10.0, 20.0), (86_400.0, -3_600.0)),
    (FaultKind.DUPLICATE, 1, (15.0, 40.0), ()),
    (FaultKind.LATE, 1, (10.0, 30.0), (5.0, 20.0)),
)
"""Kind, weight, shortest and longest duration in units, sizes."""


def random_faults(
    sensors_of: Mapping[str, Sequence[str]], *, seed: int, warm_up: float, unit_s: float = 1.0
) -> Iterator[Fault]:
    """About one fault per slot over the fleet, by start, without end; none while all devices are in or near one.

    The first begins `warm_up` units in. Kinds, devices, times and sizes follow from `seed`.
    """
    chosen = random.Random(seed)
    free_s = dict.fromkeys(sorted(sensors_of), 0.0)
    slot = 0
    while True:
        at_s = (warm_up + (slot + chosen.random()) * SLOT) * unit_s
        slot += 1
        free = [device for device, since_s in free_s.items() if since_s <= at_s]
        if not free:
            continue
        device = chosen.choice(free)
        ((kind, _, (shortest, longest), sizes),) = chosen.choices(_RANDOM_KINDS, [k[1] for k in _RANDOM_KINDS])
        sensor = chosen.choice(sensors_of[device]) if kind in OF_SENSORS else EVERY
        duration_s = round(chosen.uniform(shortest, longest) * unit_s, 3)
        free_s[device] = at_s + duration_s + QUIET * unit_s
        yield Fault(kind, device, sensor, round(at_s, 3), duration_s, chosen.choice(sizes) if sizes else None)


def faults_of(
    asked: Collection[str], sensors_of: Mapping[str, Sequence[str]], *, seed: int, warm_up: float, unit_s: float
) -> Iterator[Fault]:
    """All faults of a replay, by start; `sensors_of` is the fleet: device -> its sensors.

    Raises:
        ConfigurationError: A fault that cannot be read, or names a device or sensor that the fleet has not.
    """
    named = sorted((_checked(parse(text), sensors_of) for text in asked if text != RANDOM), key=lambda f: f.at_s)
    endless = random_faults(sensors_of, seed=seed, warm_up=warm_up, unit_s=unit_s) if RANDOM in asked else iter(())
    return heapq.merge(named, endless, key=lambda f: f.at_s)


def _checked(fault: Fault, sensors_of: Mapping[str, Sequence[str]]) -> Fault:
    if fault.device != EVERY and fault.device not in sensors_of:
        first, last = min(sensors_of), max(sensors_of)
        raise ConfigurationError(f"fault {fault.kind}: no device {fault.device!r}; there are {first} to {last}")
    struck = sensors_of if fault.device == EVERY else [fault.device]
    known = sorted({sensor for device in struck for sensor in sensors_of[device]})
    if fault.sensor not in (EVERY, *known):
        raise ConfigurationError(f"fault {fault.kind}: no sensor {fault.sensor!r}; there are {', '.join(known)}")
    return fault


class FaultSchedule:
    """Hands each device its faults as its event time reaches them. `live_us`: event time of the first live reading."""

    def __init__(self, faults: Iterator[Fault], devices: Sequence[str], live_us: int) -> None:
        self._faults = faults
        self._live_us = live_us
        self._waiting: dict[str, list[Fault]] = {device: [] for device in devices}
        self._next: Fault | None = next(faults, None)

    def begins_us(self, fault: Fault) -> int:
        """Event time at which the fault is to strike."""
        return self._live_us + round(fault.at_s * 1e6)

    def starting(self, device: str, event_us: int) -> list[Fault]:
        """This device's faults that begin by `event_us`, each once. Devices may ask in any order of time."""
        while self._next is not None and self.begins_us(self._next) <= event_us:
            for struck in self._waiting if self._next.device == EVERY else (self._next.device,):
                self._waiting[struck].append(self._next)
            self._next = next(self._faults, None)
        waiting = self._waiting[device]
        due = [fault for fault in waiting if self.begins_us(fault) <= event_us]
        if due:
            self._waiting[device] = waiting[len(due) :]
        return due
