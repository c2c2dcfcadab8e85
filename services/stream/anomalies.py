"""Anomalies: when a device's scores make an interval, and what is said of it.

Opened by the first alarm score on the line; updated when the peak reaches another severity or names another culprit;
closed when the score has stayed under the line for `QUIET_US` of event time.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from schemas.anomaly import Anomaly, AnomalyPhase, Culprit
from schemas.telemetry import Severity
from services.scoring.device import DeviceScore
from services.scoring.explain import sentence
from services.scoring.severity import ALARM_LINE, severity_of

QUIET_US: Final = 30 * 1_000_000


class OpenAnomaly(msgspec.Struct, array_like=True):
    """What is known of a device's open anomaly; `last_over_us` is the last reading over the line."""

    opened_us: int
    revision: int
    peak: float
    last_over_us: int
    severity: Severity
    culprits: list[Culprit]
    sentence: str


class Whose(msgspec.Struct, frozen=True):
    """The device that an anomaly belongs to."""

    key: str
    tenant: str
    site: str
    device: str
    device_type: str


def step(
    known: OpenAnomaly | None,
    score: DeviceScore,
    event_us: int,
    whose: Whose,
    culprits: Callable[[], list[Culprit]],
    closed_us: int = 0,
) -> tuple[OpenAnomaly | None, Anomaly | None]:
    """One scored message: the anomaly as it stands now, and what is to be published of it.

    `culprits` explains the score; it is asked only when an anomaly opens or rises. `closed_us` is when the last one was
    closed: a sensor that is told of after another may go back in time, but none opens before that.
    """
    if known is None:
        if score.alarm_score < ALARM_LINE or event_us < closed_us:
            return None, None
        blamed = culprits()
        opened = OpenAnomaly(
            opened_us=event_us,
            revision=0,
            peak=score.alarm_score,
            last_over_us=event_us,
            severity=score.severity,
            culprits=blamed,
            sentence=sentence(whose.device, blamed, score.alarm_score),
        )
        return opened, _record(opened, AnomalyPhase.OPENED, whose, score.score, event_us)
    if score.score >= ALARM_LINE:
        known.last_over_us = max(known.last_over_us, event_us)
        return known, _risen(known, score, event_us, whose, culprits)
    if event_us - known.last_over_us < QUIET_US:
        return known, None
    known.revision += 1
    return None, _record(known, AnomalyPhase.CLOSED, whose, score.score, event_us)


def end(known: OpenAnomaly, event_us: int, whose: Whose) -> Anomaly:
    """Close an anomaly because its device is not scored any more as it was: an operator has spoken."""
    known.revision += 1
    return _record(known, AnomalyPhase.CLOSED, whose, 0.0, max(event_us, known.last_over_us))


def _risen(
    known: OpenAnomaly, score: DeviceScore, event_us: int, whose: Whose, culprits: Callable[[], list[Culprit]]
) -> Anomaly | None:
    if score.is_held or score.score <= known.peak:
        return None
    known.peak = score.score
    severity = severity_of(score.score)
    blamed = culprits()
    if severity == known.severity and _first(blamed) == _first(known.culprits):
        return None
    known.severity = severity
    known.culprits = blamed
    known.sentence = sentence(whose.device, blamed, score.score)
    known.revision += 1
    return _record(known, AnomalyPhase.UPDATED, whose, score.score, event_us)


def _record(known: OpenAnomaly, phase: AnomalyPhase, whose: Whose, score: float, event_us: int) -> Anomaly:
    anomaly = f"{whose.key}:{known.opened_us}"
    return Anomaly(
        id=f"{anomaly}:{known.revision}",
        anomaly=anomaly,
        revision=known.revision,
        phase=phase,
        tenant=whose.tenant,
        site=whose.site,
        device=whose.device,
        device_type=whose.device_type,
        opened_us=known.opened_us,
        event_us=event_us,
        end_us=known.last_over_us if phase is AnomalyPhase.CLOSED else None,
        score=score,
        peak=known.peak,
        severity=known.severity,
        culprit=_first(known.culprits),
        culprits=known.culprits,
        sentence=known.sentence,
    )


def _first(culprits: list[Culprit]) -> str:
    return culprits[0].sensor if culprits else ""
