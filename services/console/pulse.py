"""What services report of themselves on `weir-metrics`, as rates, lags, dead letters and the ledger. Pure."""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from schemas.metrics import ServiceMetrics
from services.stream.ledger import Ledger

_REPORTS: Final = 4
"""Reports kept of a process; they come every 5 s."""
_GONE_US: Final = 8_000_000
"""A process that is so far behind another one of its service, in reports, has ended."""
SILENT_US: Final = 30_000_000
"""A service without a report for so long is silent."""


class Meaning(NamedTuple):
    """Which metric tells how much a service does, and which how much waits for it."""

    rate: str
    unit: str
    lag: str
    waiting: str


MEANINGS: Final = {
    "bridge": Meaning("bridge_received_messages_total", "messages", "bridge_unacked_messages", "unacknowledged"),
    "stream": Meaning("stream_messages_received_total", "messages", "stream_lag_messages", "waiting"),
    "sink": Meaning("sink_lines_written_total", "points", "sink_lag_messages", "waiting"),
    "alerts": Meaning("alerts_records_total", "records", "alerts_lag_records", "waiting"),
}


class Vital(msgspec.Struct, frozen=True):
    """One service over all of its processes. `rate` is per second; None: not known yet."""

    service: str
    processes: int
    rate: float | None
    unit: str
    lag: int
    waiting: str


class Pulse:
    """The latest reports of each process. A process that has gone silent while its service lives is forgotten."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], deque[ServiceMetrics]] = {}

    def add(self, report: ServiceMetrics) -> None:
        """Take one report; repeats and older ones are passed over."""
        known = self._reports.setdefault((report.service, report.instance), deque(maxlen=_REPORTS))
        if not known or known[-1].at_us < report.at_us:
            known.append(report)
        newest = max(r[-1].at_us for (service, _), r in self._reports.items() if service == report.service)
        self._reports = {
            who: reports
            for who, reports in self._reports.items()
            if who[0] != report.service or reports[-1].at_us > newest - _GONE_US
        }

    def newest_us(self, service: str) -> int | None:
        """When the service last reported."""
        return max((reports[-1].at_us for reports in self._of(service)), default=None)

    def vital(self, service: str) -> Vital | None:
        """How the service is; None where it has not reported."""
        reports = self._of(service)
        if not reports:
            return None
        meaning = MEANINGS[service]
        rates = [rate for each in reports if (rate := _rate(each, meaning.rate)) is not None]
        return Vital(
            service=service,
            processes=len(reports),
            rate=sum(rates) if rates else None,
            unit=meaning.unit,
            lag=round(sum(_total(each[-1], meaning.lag) for each in reports)),
            waiting=meaning.waiting,
        )

    def ledger(self) -> Ledger:
        """The stream's ledgers of messages and readings, over its workers."""
        ledger = Ledger()
        for reports in self._of("stream"):
            ledger.add(_ledger(reports[-1]))
        return ledger

    @property
    def knows_ledger(self) -> bool:
        """Whether a stream worker that owns partitions has reported: else the ledger's zeros mean nothing."""
        return any(_total(reports[-1], "stream_partitions") for reports in self._of("stream"))

    def dead_letters(self) -> dict[str, int]:
        """Messages, readings and lines in the dead letter by reason, most first."""
        ledger = self.ledger()
        found: dict[str, int] = {}
        refused = [_by_reason(reports[-1], "sink_dead_letters_total") for reports in self._of("sink")]
        for counts in (ledger.dead_messages, ledger.dead_readings, *refused):
            for reason, count in counts.items():
                if count:
                    found[reason] = found.get(reason, 0) + count
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def missing_messages(self) -> int:
        """Messages that did not come, by their seq, less those that came after all; since the workers started."""
        counts = [_by_reason(reports[-1], "stream_gap_messages_total") for reports in self._of("stream")]
        return max(0, sum(count.get("missing", 0) - count.get("withdrawn", 0) for count in counts))

    def _of(self, service: str) -> list[deque[ServiceMetrics]]:
        return [reports for (name, _), reports in self._reports.items() if name == service]


def verdict(ledger: Ledger) -> str:
    """Both ledgers' verdict in words: that they add up, or what is missing."""
    wrong = [
        f"{abs(missing):,} {what} {'are missing' if missing > 0 else 'too many'}"
        for missing, what in ((ledger.missing_messages, "messages"), (ledger.missing_readings, "readings"))
        if missing
    ]
    return "; ".join(wrong) or "adds up"


def adds_up(ledger: Ledger) -> bool:
    """Whether every message and every reading is accounted for."""
    return not ledger.missing_messages and not ledger.missing_readings


def _rate(reports: Iterable[ServiceMetrics], field: str) -> float | None:
    """Per second, from the oldest report kept to the newest.

    A stream worker's counts are those of its partitions: between two sets of partitions there is no rate.
    """
    newest, *older = reversed(list(reports))
    same = [r for r in older if _total(r, "stream_partitions") == _total(newest, "stream_partitions")]
    if not same:
        return None
    seconds = (newest.at_us - same[-1].at_us) / 1e6
    return max(0.0, _total(newest, field) - _total(same[-1], field)) / seconds


def _total(report: ServiceMetrics, field: str) -> float:
    return sum(point.fields.get(field, 0.0) for point in report.points)


def _by_reason(report: ServiceMetrics, field: str) -> dict[str, int]:
    return {p.reason: round(p.fields[field]) for p in report.points if p.fields.get(field)}


def _ledger(report: ServiceMetrics) -> Ledger:
    def count(name: str) -> int:
        return round(_total(report, f"stream_{name}_total"))

    return Ledger(
        received=count("messages_received"),
        decoded=count("messages_decoded"),
        redelivered=count("messages_redelivered"),
        readings_decoded=count("readings_decoded"),
        readings_stored=count("readings_stored"),
        readings_duplicates=count("readings_duplicates"),
        dead_messages=_by_reason(report, "stream_messages_dead_lettered_total"),
        dead_readings=_by_reason(report, "stream_readings_dead_lettered_total"),
    )
