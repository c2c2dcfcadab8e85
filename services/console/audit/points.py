"""The points of one device's readings in InfluxDB, a bounded page at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from schemas import influx as layout
from services.console.audit.device import Span
from services.console.influx import Point

PAGE: Final = 5000
"""Points of each series in one answer."""

Ask = Callable[[str], list[Point]]
"""An InfluxQL query -> its points, each series' in order of time."""


class Reading(NamedTuple):
    """One point of `readings`."""

    site: str
    sensor: str
    time_ns: int
    value: float


def readings(ask: Ask, tenant: str, device: str, span: Span, page: int = PAGE) -> Iterator[Reading]:
    """All points of a device within a span of time, each once.

    A page ends where the first of its series was cut off; the next begins there, for all of them.
    """
    first = span.first_ns
    while first <= span.last_ns:
        points = ask(query(tenant, device, Span(first, span.last_ns), page))
        cut = _first_cut(points, page)
        for point in points:
            if cut is None or point.time_ns <= cut:
                yield Reading(
                    point.tags.get("site", ""), point.tags.get("sensor", ""), point.time_ns, point.fields["value"]
                )
        if cut is None:
            return
        first = cut + 1


def query(tenant: str, device: str, span: Span, page: int) -> str:
    """The question in InfluxQL; ids are of a closed set of characters, the rest are numbers."""
    return (
        f'SELECT "value" FROM "{layout.READINGS}" WHERE "tenant" = \'{tenant}\' AND "device" = \'{device}\''  # noqa: S608 - see above
        f" AND time >= {span.first_ns} AND time <= {span.last_ns} GROUP BY * LIMIT {page}"
    )


def _first_cut(points: list[Point], page: int) -> int | None:
    """Up to which time the answer is complete; None: all of it is."""
    counts: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, ...], int] = {}
    for point in points:
        series = tuple(point.tags.values())
        counts[series] += 1
        last[series] = max(point.time_ns, last.get(series, point.time_ns))
    return min((last[series] for series, count in counts.items() if count >= page), default=None)
