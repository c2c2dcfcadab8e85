"""What stands of a row in Kafka, in InfluxDB and at the webhook, as plain data for the judges."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Post = tuple[str, bytes]
"""What came to the webhook: `Idempotency-Key`, body."""


class RawMessage(NamedTuple):
    """A record of telemetry.raw: its bytes, and when the bridge received it (its clock, µs)."""

    payload: bytes
    received_us: int


class Entry(NamedTuple):
    """A record of a derived topic. `digest` stands for its bytes; `fields` for what the judges look at."""

    id: str
    digest: int
    fields: dict[str, Any]


class ScorePoint(NamedTuple):
    """A device's own score."""

    score: float
    alarm_score: float


class AnomalyPoint(NamedTuple):
    """What InfluxDB holds of an anomaly; `open` is 1.0 until it closes."""

    open: float
    peak: float
    severity: str


@dataclass
class Evidence:
    """Lists are in the order of the log; `device` is the device's id. Repeats are kept."""

    raw: dict[str, list[RawMessage]] = field(default_factory=dict)
    clean: dict[str, list[Entry]] = field(default_factory=dict)
    """Fields: seq, event_us."""
    scores: dict[str, list[Entry]] = field(default_factory=dict)
    """Fields: seq, event_us, score, alarm_score."""
    aggregates: dict[str, list[Entry]] = field(default_factory=dict)
    anomalies: dict[str, list[Entry]] = field(default_factory=dict)
    gaps: dict[str, list[Entry]] = field(default_factory=dict)
    dead_letters: dict[str, list[Entry]] = field(default_factory=dict)
    alarms: dict[str, list[Entry]] = field(default_factory=dict)
    readings: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)
    """(device, sensor) -> points: time in ns, value."""
    windows: dict[tuple[str, str, int, int], dict[str, float]] = field(default_factory=dict)
    """(device, sensor, width in µs, start in µs) -> fields of the point."""
    score_points: dict[str, dict[int, ScorePoint]] = field(default_factory=dict)
    """device -> time in ns -> the device's own score."""
    anomaly_points: dict[tuple[str, int], AnomalyPoint] = field(default_factory=dict)
    """(device, opened in µs)."""
    posts: list[Post] | None = None
    """None where there is no webhook."""


class Distinct(NamedTuple):
    """The records of a topic, repeats by `id` dropped."""

    entries: list[Entry]
    repeats: int
    differing: list[str]
    """Ids of repeats whose bytes are others."""


def distinct(entries: list[Entry]) -> Distinct:
    """Drop repeats, as the contract tells consumers to."""
    known: dict[str, Entry] = {}
    repeats, differing = 0, []
    for entry in entries:
        first = known.get(entry.id)
        if first is None:
            known[entry.id] = entry
            continue
        repeats += 1
        if first.digest != entry.digest:
            differing.append(entry.id)
    return Distinct(list(known.values()), repeats, differing)
