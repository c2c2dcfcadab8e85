"""`telemetry.anomalies`: intervals of a device's life over its alarm line."""

from enum import StrEnum

import msgspec

from schemas.telemetry import Severity


class AnomalyPhase(StrEnum):
    """What this record says of the anomaly."""

    OPENED = "opened"
    UPDATED = "updated"
    """The peak rose to another severity, or another sensor became the culprit."""
    CLOSED = "closed"


class Culprit(msgspec.Struct, frozen=True, gc=False):
    """A sensor's share (0..1) in an anomaly, and what was seen where what was expected."""

    sensor: str
    share: float
    observed: float
    expected_low: float | None
    expected_high: float | None


class Anomaly(msgspec.Struct, frozen=True, gc=False, tag="anomaly.v1", tag_field="type"):
    """One step in an anomaly's life.

    `anomaly` names the interval and stays the same from opened to closed; `revision` counts its records from 0 and is
    part of `id`. `event_us` is the reading that made this record; `end_us` is set when closed: the last reading over
    the line. `culprits` are sorted by share, largest first.
    """

    id: str
    anomaly: str
    revision: int
    phase: AnomalyPhase
    tenant: str
    site: str
    device: str
    device_type: str
    opened_us: int
    event_us: int
    end_us: int | None
    score: float
    peak: float
    severity: Severity
    culprit: str
    culprits: list[Culprit]
    sentence: str
