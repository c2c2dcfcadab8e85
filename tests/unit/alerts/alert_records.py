"""Builders of what alerts read, times in seconds; and a device that reads records by the rules it is given."""

from typing import Any

from schemas.alarm import AlarmEvent, AlarmPhase
from schemas.anomaly import Anomaly, AnomalyPhase, Culprit
from schemas.telemetry import Aggregate, Severity
from services.alerts import engine, rules
from services.alerts.rules import Rules
from services.alerts.state import Watch

SECOND_US = 1_000_000


def window(start_s: float, mean: float, *, sensor: str = "temperature", width_s: int = 10, **more: Any) -> Aggregate:
    start_us = round(start_s * SECOND_US)
    values = {"count": 10, "std": 1.0, "min": mean - 1, "max": mean + 1, "p50": mean, "p95": mean, "revision": 0}
    return Aggregate(
        **{
            "id": f"acme/pump-1:{sensor}:{width_s}s:{start_us}",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "sensor": sensor,
            "start_us": start_us,
            "width_us": width_s * SECOND_US,
            "mean": mean,
            "first": mean,
            "last": mean,
        }
        | values
        | more
    )


def anomaly(
    phase: str, at_s: float, *, opened_s: float = 0.0, revision: int = 0, severity: str = "warning", **more: Any
) -> Anomaly:
    opened_us, event_us = round(opened_s * SECOND_US), round(at_s * SECOND_US)
    fields: dict[str, Any] = {
        "id": f"acme/pump-1:{opened_us}:{revision}",
        "anomaly": f"acme/pump-1:{opened_us}",
        "revision": revision,
        "phase": AnomalyPhase(phase),
        "tenant": "acme",
        "site": "berlin",
        "device": "pump-1",
        "device_type": "pump",
        "opened_us": opened_us,
        "event_us": event_us,
        "end_us": event_us if phase == "closed" else None,
        "score": 0.75,
        "peak": 0.75,
        "severity": Severity(severity),
        "culprit": "temperature",
        "culprits": [Culprit("temperature", 0.8, 95.0, 20.0, 40.0), Culprit("current", 0.2, 3.0, None, None)],
        "sentence": "temperature 95.0, expected 20.0 to 40.0",
    }
    return Anomaly(**(fields | more))


class Device:
    """One device under some rules; `read` gives the events of one record."""

    def __init__(self, text: str | Rules) -> None:
        self.rules = rules.parse(text) if isinstance(text, str) else text
        self.anomalies = Watch()
        self.aggregates = Watch()
        self.failed: list[str] = []
        self._offset = 0

    def read(self, record: Anomaly | Aggregate, offset: int | None = None) -> list[AlarmEvent]:
        at = self._offset if offset is None else offset
        self._offset = at + 1
        if isinstance(record, Anomaly):
            return self._keep("anomalies", engine.anomaly_step(self.rules, self.anomalies, record, at))
        events = self._keep("aggregates", engine.aggregate_step(self.rules, self.aggregates, record, at))
        if record.provisional:
            return events
        ticked = engine.tick(self.rules, self.anomalies, record.start_us + record.width_us)
        return events + self._keep("anomalies", ticked)

    def _keep(self, source: str, step: engine.Step) -> list[AlarmEvent]:
        setattr(self, source, step.watch)
        self.failed += [rule for rule, _ in step.failed]
        return list(step.events)


def said(events: list[AlarmEvent]) -> list[tuple[str, float]]:
    """Phase and second of each event."""
    return [(event.phase.value, event.at_us / SECOND_US) for event in events]


RAISED, CLEARED = AlarmPhase.RAISED.value, AlarmPhase.CLEARED.value
