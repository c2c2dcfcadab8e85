"""Faults: what goes wrong with devices, by name. Pure: a message goes in, what the faulty device sends comes out."""

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.runtime.errors import ConfigurationError
from services.simulator.message import Message, Value

EVERY: Final = "*"
"""All sensors of the device."""


class FaultKind(StrEnum):
    """What happens; `size` is in sigma of the device's own recent signal unless said otherwise."""

    SPIKE = "spike"
    """Far off to one side and the other in turn."""
    STEP = "step"
    """Shifted by `size`."""
    DRIFT = "drift"
    """Shifted more and more, by `size` at the end."""
    STUCK = "stuck"
    """The value at the onset, again and again."""
    DROP_OUT = "drop-out"
    """Silence; the device goes on counting, so `seq` shows what is lost."""
    NAN = "nan"
    """`NaN` (which breaks the JSON), null and the text "NaN" in turn."""
    CLOCK_JUMP = "clock-jump"
    """The device's clock is off by `size` seconds (a day ahead, unless given)."""
    DUPLICATE = "duplicate"
    """Each message is published twice."""
    LATE = "late"
    """Each message is published `size` seconds late (30, unless given)."""


DEFAULT_SIZE: Final[Mapping[FaultKind, float]] = {
    FaultKind.SPIKE: 10.0,
    FaultKind.STEP: 6.0,
    FaultKind.DRIFT: 8.0,
    FaultKind.CLOCK_JUMP: 86_400.0,
    FaultKind.LATE: 30.0,
}
"""Kinds without one have no size."""

OF_SENSORS: Final = frozenset({FaultKind.SPIKE, FaultKind.STEP, FaultKind.DRIFT, FaultKind.STUCK, FaultKind.NAN})
"""The others strike whole messages: their sensor is `*`."""


@dataclass(frozen=True)
class Fault:
    """One fault of one device (`*`: of each), `at_s` seconds of event time after the first live reading."""

    kind: FaultKind
    device: str
    sensor: str
    at_s: float
    duration_s: float
    size: float | None


@dataclass(frozen=True)
class Onset:
    """A fault that strikes: since when and until when (event time, unix µs), and how the sensors were.

    `sigma` is the usual deviation of the device's recent signal, `last` the healthy value at the onset.
    """

    fault: Fault
    from_us: int
    to_us: int
    sigma: Mapping[str, float]
    last: Mapping[str, float]

    def sensors(self, values: Mapping[str, Value]) -> list[str]:
        """Those of the message that the fault strikes."""
        return [s for s in values if self.fault.sensor in (s, EVERY)]

    @property
    def size(self) -> float:
        """The fault's size, in its kind's unit."""
        return self.fault.size or 0.0


def inject(message: Message, onset: Onset, count: int) -> list[Message]:
    """What the device publishes in place of `message`, its `count`-th (from 0) under this fault."""
    return _INJECTORS[onset.fault.kind](message, onset, count)


def sigma(recent: Sequence[float]) -> float:
    """A recent signal's standard deviation, its own swing included, robust against anomalies in it.

    From the spread between its 5th and 95th percentile, as wide as 3.29 standard deviations of a normal distribution.
    Where it does not move: 1 % of its level, or 1 at level 0.
    """
    if not recent:
        return 1.0
    ordered = sorted(recent)
    outside = max(1, len(ordered) // 20) if len(ordered) > 2 else 0
    usual = (ordered[-1 - outside] - ordered[outside]) / 3.29
    return usual or abs(statistics.median(ordered)) * 0.01 or 1.0


def _shifted(message: Message, onset: Onset, sigmas: float) -> list[Message]:
    changed = dict(message.values)
    for sensor in onset.sensors(changed):
        value = changed[sensor]
        if isinstance(value, float):
            changed[sensor] = value + sigmas * onset.sigma.get(sensor, 1.0)
    return [message._replace(values=changed)]


def _replaced(message: Message, onset: Onset, value: Callable[[str], Value]) -> list[Message]:
    struck = onset.sensors(message.values)
    return [message._replace(values={**message.values, **{sensor: value(sensor) for sensor in struck}})]


def _spike(message: Message, onset: Onset, count: int) -> list[Message]:
    return _shifted(message, onset, onset.size if count % 2 == 0 else -onset.size)


def _step(message: Message, onset: Onset, _count: int) -> list[Message]:
    return _shifted(message, onset, onset.size)


def _drift(message: Message, onset: Onset, _count: int) -> list[Message]:
    passed = (message.event_us - onset.from_us) / max(onset.to_us - onset.from_us, 1)
    return _shifted(message, onset, onset.size * min(passed, 1.0))


def _stuck(message: Message, onset: Onset, _count: int) -> list[Message]:
    return _replaced(message, onset, lambda sensor: onset.last.get(sensor, message.values[sensor]))


def _drop_out(_message: Message, _onset: Onset, _count: int) -> list[Message]:
    return []


def _nan(message: Message, onset: Onset, count: int) -> list[Message]:
    forms: tuple[Value, ...] = (math.nan, None, "NaN")
    return _replaced(message, onset, lambda _sensor: forms[count % 3])


def _clock_jump(message: Message, onset: Onset, _count: int) -> list[Message]:
    return [message._replace(event_us=message.event_us + round(onset.size * 1e6))]


def _duplicate(message: Message, _onset: Onset, _count: int) -> list[Message]:
    return [message, message]


def _late(message: Message, onset: Onset, _count: int) -> list[Message]:
    return [message._replace(due_us=message.due_us + round(onset.size * 1e6))]


_INJECTORS: Final[Mapping[FaultKind, Callable[[Message, Onset, int], list[Message]]]] = {
    FaultKind.SPIKE: _spike,
    FaultKind.STEP: _step,
    FaultKind.DRIFT: _drift,
    FaultKind.STUCK: _stuck,
    FaultKind.DROP_OUT: _drop_out,
    FaultKind.NAN: _nan,
    FaultKind.CLOCK_JUMP: _clock_jump,
    FaultKind.DUPLICATE: _duplicate,
    FaultKind.LATE: _late,
}

_FORM: Final = "kind@device:sensor:at+duration[:size], as in step@pump-03:flow:120+60:6 (seconds; 2m and 1h do too)"
_SPEC: Final = re.compile(
    r"(?P<kind>[a-z-]+)@(?P<device>[^:]+):(?P<sensor>.+):(?P<at>[\d.]+[smh]?)\+(?P<duration>[\d.]+[smh]?)(:(?P<size>[-+\d.e]+))?"
)
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse(text: str) -> Fault:
    """A fault as a person writes it: `kind@device:sensor:at+duration[:size]`.

    Raises:
        ConfigurationError: Says which part is wrong and what it takes.
    """
    found = _SPEC.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"fault {text!r}: write {_FORM}")
    try:
        kind = FaultKind(found["kind"])
    except ValueError:
        raise ConfigurationError(f"fault {text!r}: no kind {found['kind']!r}; one of: {', '.join(FaultKind)}") from None
    if kind not in OF_SENSORS and found["sensor"] != EVERY:
        raise ConfigurationError(f"fault {text!r}: {kind} strikes whole messages; write {EVERY} for the sensor")
    if found["size"] is not None and kind not in DEFAULT_SIZE:
        raise ConfigurationError(f"fault {text!r}: {kind} has no size; leave it out")
    try:
        size = float(found["size"]) if found["size"] is not None else DEFAULT_SIZE.get(kind)
        at_s, duration_s = _seconds(found["at"]), _seconds(found["duration"])
    except ValueError as error:
        raise ConfigurationError(f"fault {text!r}: {error}; write {_FORM}") from None
    if size is not None and not math.isfinite(size):
        raise ConfigurationError(f"fault {text!r}: size takes a finite number")
    if kind is FaultKind.LATE and not (size or 0.0) > 0:
        raise ConfigurationError(f"fault {text!r}: late takes more than 0 seconds")
    return Fault(kind, found["device"], found["sensor"], at_s, duration_s, size)


def _seconds(text: str) -> float:
    unit = _UNIT_S.get(text[-1])
    return float(text) if unit is None else float(text[:-1]) * unit
