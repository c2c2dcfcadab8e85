"""`alerts.events`: the life of alarms, as rules make them of anomalies and aggregates."""

from enum import StrEnum

import msgspec

from schemas.telemetry import Severity


class AlarmPhase(StrEnum):
    """What happened to the alarm."""

    RAISED = "raised"
    CLEARED = "cleared"


class AlarmEvent(msgspec.Struct, frozen=True, gc=False, tag="alarm.v1", tag_field="type"):
    """One step in an alarm's life. There is one alarm per (rule, device), never two.

    `alarm` names the alarm from raised to cleared; `id` (`{alarm}:{phase}`) is its notifications'
    idempotency key. `at_us` is the event time that decided this step, `raised_us` that of the first.
    """

    id: str
    alarm: str
    phase: AlarmPhase
    rule: str
    tenant: str
    site: str
    device: str
    severity: Severity
    raised_us: int
    at_us: int
    summary: str
    cause: str
    labels: dict[str, str] = {}
