"""Scoring: how unusual is this reading for this device?

In: a device's readings, in order, with their event times. Out: a score in [0, 1] for the device and each sensor, in
which 0.5 is the alarm line; culprits; one sentence. Online, score before learn, one pass, bounded memory. A library:
no I/O, no clock, no threads; the same readings give the same bytes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from services.scoring.device import DeviceScorer
from services.scoring.spec import DEFAULT_SPEC


class _Scorer:
    """A device scorer as anomaly benchmarks want it: `update(timestamp, value | values) -> alarm score`."""

    def __init__(self) -> None:
        self._device = DeviceScorer(DEFAULT_SPEC)

    def update(self, timestamp: datetime | float, value: float | Mapping[str, float]) -> float:
        """Score one reading (or one row of readings) at `timestamp` (naive means UTC; seconds since 1970)."""
        seconds = timestamp.replace(tzinfo=UTC).timestamp() if isinstance(timestamp, datetime) else timestamp
        values = value if isinstance(value, Mapping) else {"value": value}
        return self._device.update(round(seconds * 1e6), values).alarm_score


def make_sensor_scorer() -> _Scorer:
    """The product's default for one signal: `update(timestamp, value) -> alarm score`."""
    return _Scorer()


def make_device_scorer() -> _Scorer:
    """The product's default for a device: `update(timestamp, {sensor: value}) -> alarm score`."""
    return _Scorer()
