"""Scoring: how unusual is this reading for this device?

In: a device's readings, in order, with their event times. Out: a score in [0, 1] for the device and each sensor, in
which 0.5 is the alarm line; culprits; one sentence. Online, score before learn, one pass, bounded memory. A library:
no I/O, no clock, no threads; the same readings give the same bytes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from services.scoring.device import DeviceScorer
from services.scoring.spec import DEFAULT_SPEC


class OneSensor:
    """The product's default for one signal, as benchmarks that count alarms want it."""

    def __init__(self) -> None:
        self._device = DeviceScorer(DEFAULT_SPEC)

    def update(self, timestamp: datetime | float, value: float) -> float:
        """The alarm score of one reading at `timestamp` (naive means UTC; or seconds since 1970)."""
        return self._device.update(_microseconds(timestamp), {"value": value}).alarm_score


class OneDevice:
    """The product's default for a device, as benchmarks that label every row want it."""

    def __init__(self) -> None:
        self._device = DeviceScorer(DEFAULT_SPEC)

    def update(self, timestamp: datetime | float, values: Mapping[str, float]) -> float:
        """The score, before the quiet rule, of one row of readings at `timestamp` (as in `OneSensor`)."""
        return self._device.update(_microseconds(timestamp), values).score


def make_sensor_scorer() -> OneSensor:
    """A new scorer for one signal: `update(timestamp, value) -> alarm score`."""
    return OneSensor()


def make_device_scorer() -> OneDevice:
    """A new scorer for a device: `update(timestamp, {sensor: value}) -> score`."""
    return OneDevice()


def _microseconds(timestamp: datetime | float) -> int:
    if isinstance(timestamp, datetime):
        known = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
        return round(known.timestamp() * 1e6)
    return round(timestamp * 1e6)
