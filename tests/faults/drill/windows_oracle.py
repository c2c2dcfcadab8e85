"""Windows, computed anew from what the devices told, and compared with what Weir says of them.

The promise (docs/guide.md): tumbling windows of 10 s, 1 min and 5 min by event time. One is closed when the device's
newest reading is 10 s past its end; a late reading corrects it (within 60 s for 10 s windows, 1 h for the others), with
the next revision; what is older than all of these is in none. Silent devices' open windows are shown as provisional.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from tests.faults.drill.told import Told

SECOND_US: Final = 1_000_000
LATENESS_US: Final = 10 * SECOND_US
HORIZON_US: Final = {
    10 * SECOND_US: 60 * SECOND_US,
    60 * SECOND_US: 3600 * SECOND_US,
    300 * SECOND_US: 3600 * SECOND_US,
}
FIELDS: Final = ("count", "mean", "std", "min", "max", "p50", "p95", "first", "last")
EXACT_QUANTILES: Final = 64
_CLOSE: Final = 1e-9

PageKey = tuple[int, int]
"""Width and start, in µs."""


@dataclass
class Page:
    """One window of all of a device's sensors: messages in it, by event time; whether the watermark has passed it."""

    width_us: int
    start_us: int
    told: list[Told] = field(default_factory=list)
    is_closed: bool = False
    revision: int = 0

    @property
    def end_us(self) -> int:
        """Exclusive."""
        return self.start_us + self.width_us

    def values(self, sensor: str) -> list[tuple[int, float]]:
        """(event time, value) of a sensor."""
        return [(message.event_us, message.values[sensor]) for message in self.told]


class Emission(NamedTuple):
    """A page when it was closed, or corrected after that: with so many messages in it."""

    page: Page
    revision: int
    messages: int


@dataclass
class DeviceWindows:
    """All windows of a device, what was said of the closed ones in order, and which messages are in none."""

    pages: dict[PageKey, Page] = field(default_factory=dict)
    emissions: list[Emission] = field(default_factory=list)
    late: set[int] = field(default_factory=set)
    """Sequence numbers."""


def windows_of(told: Iterable[Told]) -> DeviceWindows:
    """Go through the messages in the order of the log."""
    found = DeviceWindows()
    pages = found.pages
    opened: set[PageKey] = set()
    newest_us = 0
    for message in told:
        watermark_us = newest_us - LATENESS_US
        taken = False
        for width_us, horizon_us in HORIZON_US.items():
            start_us = message.event_us - message.event_us % width_us
            key = (width_us, start_us)
            end_us = start_us + width_us
            if end_us + horizon_us <= watermark_us:
                continue
            taken = True
            page = pages.get(key)
            if page is None:
                page = pages[key] = Page(width_us, start_us, revision=-1)
            page.told.append(message)
            if end_us > watermark_us:
                opened.add(key)
            else:
                page.is_closed = True
                page.revision += 1
                found.emissions.append(Emission(page, page.revision, len(page.told)))
        if not taken:
            found.late.add(message.seq)
        if message.event_us > newest_us:
            newest_us = message.event_us
            watermark_us = newest_us - LATENESS_US
            due = [key for key in opened if key[0] + key[1] <= watermark_us]
            for key in sorted(due, key=lambda key: (key[0] + key[1], key[0])):
                opened.discard(key)
                page = pages[key]
                page.is_closed = True
                page.revision += 1
                found.emissions.append(Emission(page, page.revision, len(page.told)))
    return found


def differences(values: list[tuple[int, float]], said: dict[str, Any]) -> list[str]:
    """In which fields of a window what is said of it is not what its values are."""
    numbers = np.array([value for _, value in values])
    count = len(numbers)
    if said["count"] != count:
        return [f"count is {said['count']:g}, not {count}"]
    total = math.fsum(numbers)
    mean = total / count
    std = float(np.std(numbers, ddof=1)) if count > 1 else 0.0
    ordered = sorted(values, key=lambda one: one[0])
    first = {value for at, value in values if at == ordered[0][0]}
    last = {value for at, value in values if at == ordered[-1][0]}
    right = {
        "mean": abs(said["mean"] * count - total) <= _CLOSE * abs(total),
        "std": abs(said["std"] - std) <= _CLOSE * max(std, abs(mean) * 1e-3),
        "min": said["min"] == numbers.min(),
        "max": said["max"] == numbers.max(),
        "first": said["first"] in first,
        "last": said["last"] in last,
        "p50": _is_quantile(numbers, 0.5, said["p50"]),
        "p95": _is_quantile(numbers, 0.95, said["p95"]),
    }
    return [f"{name} is {said[name]!r}" for name, is_right in right.items() if not is_right]


def _is_quantile(numbers: np.ndarray, share: float, said: float) -> bool:
    """Exact up to 64 values; beyond, the rank may be off by count / 64 * ceil(log2(count / 64))."""
    count = len(numbers)
    if count <= EXACT_QUANTILES:
        return math.isclose(said, float(np.quantile(numbers, share)), rel_tol=_CLOSE)
    bound = count / 64 * math.ceil(math.log2(count / 64)) + 1
    ordered = np.sort(numbers)
    rank = share * (count - 1)
    low, high = np.searchsorted(ordered, said, "left"), np.searchsorted(ordered, said, "right") - 1
    return bool(low - bound <= rank <= max(low, high) + bound)
