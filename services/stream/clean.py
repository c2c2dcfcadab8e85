"""Cleaning: which of an element's entries are good readings, and why the others are not.

A bad reading goes to the dead letter alone; its neighbours go on. Nothing here raises on what a device sent.
"""

from typing import Any, Final, NamedTuple

import msgspec

from schemas.mqtt import SENSOR
from schemas.reasons import Reason
from services.stream.decoders import Element
from services.stream.device import LARGEST_VALUE, REMEMBERED_TIMES, Device, SensorMemory
from services.stream.sensor_budget import SensorBudget

STUCK_AFTER_US: Final = 300 * 1_000_000
"""A sensor that may be stuck stands for at least this long ..."""
STUCK_TIMES_LONGEST: Final = 5
"""... and for this many times as long as it ever stood before ..."""
STUCK_CHANGES: Final = 20
"""... having changed at least this often."""


class Rejected(NamedTuple):
    """One entry that is no reading."""

    sensor: str
    reason: Reason
    detail: str


class Cleaned(msgspec.Struct, frozen=True, gc=False):
    """An element's good readings, its rejects, how many were duplicates, and which sensors are stuck.

    `older`: sensors of which a newer reading was seen before; they are not learnt.
    """

    values: dict[str, float]
    rejected: list[Rejected]
    duplicates: int
    stuck: list[str]
    older: list[str]


def clean(
    device: Device, element: Element, event_us: int, *, in_order: bool, may_collide: bool, budget: SensorBudget
) -> Cleaned:
    """Judge each entry against the sensor's name, its type's range and rate of change, and what was seen before.

    `in_order`: no reading of this device was newer (where one was, a sensor's own may still be in order: a device may
    tell of its sensors one after the other). `may_collide`: the device sends times but no sequence numbers, so that
    equal times must be equal readings.
    """
    values = element.values
    sensors = device.sensors
    rejected: list[Rejected] = []
    stuck: list[str] = []
    older: list[str] = []
    dropped: set[str] = set()
    duplicates = 0
    if element.odd is not None:
        values = _with_booleans(device, element.values, element.odd, rejected)
    for sensor, value in values.items():
        memory = sensors.get(sensor)
        if memory is None:
            refused = _refuse_new(sensor, device, budget)
            if refused is None:
                refused = _out_of_range(device, sensor, value)
            if refused is not None:
                rejected.append(Rejected(sensor, *refused))
                dropped.add(sensor)
            else:
                recent = (float(event_us), value) if may_collide else ()
                sensors[sensor] = SensorMemory(value, event_us, event_us, recent=recent)
                budget.count(device.whose.tenant, 1)
            continue
        if device.sensor_types or not -LARGEST_VALUE <= value <= LARGEST_VALUE:
            refused = _out_of_range(device, sensor, value) or _too_fast(device, sensor, value, event_us, memory)
            if refused is not None:
                rejected.append(Rejected(sensor, *refused))
                dropped.add(sensor)
                continue
        if may_collide:
            known = _value_at(event_us, memory)
            if known is not None:
                dropped.add(sensor)
                if known == value:
                    duplicates += 1
                else:
                    detail = f"{value} at a time that already has {known}; send seq to keep both"
                    rejected.append(Rejected(sensor, Reason.TIME_COLLISION, detail))
                continue
            memory.recent = (*memory.recent[-2 * (REMEMBERED_TIMES - 1) :], float(event_us), value)
        if not in_order and event_us < memory.newest_us:
            older.append(sensor)
        else:
            if value != memory.value:
                stood_us = memory.newest_us - memory.since_us
                if stood_us > memory.longest_us:
                    memory.longest_us = stood_us
                memory.changes += 1
                memory.value = value
                memory.since_us = event_us
            elif _is_stuck(memory, event_us):
                stuck.append(sensor)
            memory.newest_us = event_us
    if dropped:
        values = {sensor: value for sensor, value in values.items() if sensor not in dropped}
    return Cleaned(values, rejected, duplicates, stuck, older)


def _with_booleans(
    device: Device, numbers: dict[str, float], odd: dict[str, Any], rejected: list[Rejected]
) -> dict[str, float]:
    values = dict(numbers)
    for sensor, value in odd.items():
        declared = device.sensor_types.get(sensor)
        if isinstance(value, bool) and declared is not None and declared.boolean:
            values[sensor] = float(value)
        else:
            detail = f"{type(value).__name__}: {value!r:.80}"
            rejected.append(Rejected(sensor, Reason.NOT_A_NUMBER, detail))
    return values


def _refuse_new(sensor: str, device: Device, budget: SensorBudget) -> tuple[Reason, str] | None:
    if SENSOR.fullmatch(sensor) is None:
        return Reason.BAD_SENSOR, f"no sensor name: {sensor!r:.100}"
    refusal = budget.refusal(device)
    return None if refusal is None else (Reason.SENSOR_BUDGET, refusal)


def _out_of_range(device: Device, sensor: str, value: float) -> tuple[Reason, str] | None:
    declared = device.sensor_types.get(sensor)
    low, high = -LARGEST_VALUE, LARGEST_VALUE
    if declared is not None:
        low = low if declared.low is None else max(low, declared.low)
        high = high if declared.high is None else min(high, declared.high)
    if low <= value <= high:
        return None
    return Reason.OUT_OF_RANGE, f"{value} is outside {low}..{high}"


def _too_fast(
    device: Device, sensor: str, value: float, event_us: int, memory: SensorMemory
) -> tuple[Reason, str] | None:
    declared = device.sensor_types.get(sensor)
    if declared is None or declared.max_rate_per_s is None or event_us <= memory.newest_us:
        return None
    rate = abs(value - memory.value) / ((event_us - memory.newest_us) / 1e6)
    if rate <= declared.max_rate_per_s:
        return None
    return Reason.OUT_OF_RANGE, f"changed by {rate:.6g} a second; the type allows {declared.max_rate_per_s:.6g}"


def _value_at(event_us: int, memory: SensorMemory) -> float | None:
    recent = memory.recent
    for index in range(0, len(recent), 2):
        if recent[index] == event_us:
            return recent[index + 1]
    return None


def _is_stuck(memory: SensorMemory, event_us: int) -> bool:
    stood_us = event_us - memory.since_us
    return (
        stood_us >= STUCK_AFTER_US
        and memory.changes >= STUCK_CHANGES
        and stood_us >= STUCK_TIMES_LONGEST * memory.longest_us
    )
