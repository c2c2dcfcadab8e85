"""Records as the services write them, for the console's tests."""

from __future__ import annotations

from schemas.alarm import AlarmEvent, AlarmPhase
from schemas.anomaly import Anomaly, AnomalyPhase, Culprit
from schemas.metrics import MetricPoint, ServiceMetrics
from schemas.telemetry import Aggregate, Clean, ModelState, Score, SensorScore, Severity, TimeSource

NOON_US = 1_777_636_800_000_000
"""2026-05-01T12:00:00Z."""


def clean(device: str = "pump-01", at_us: int = NOON_US, seq: int | None = 7, **more) -> Clean:
    told = {
        "id": f"demo/{device}:{at_us}:{seq}:0",
        "tenant": "demo",
        "site": "plant-1",
        "device": device,
        "device_type": "generic",
        "event_us": at_us,
        "received_us": at_us + 5000,
        "time_source": TimeSource.DEVICE,
        "sent_ts": at_us // 1000,
        "seq": seq,
        "values": {"flow": 101.5, "pressure": 4.5},
    }
    return Clean(**(told | more))


def score(device: str = "pump-01", value: float = 0.1, at_us: int = NOON_US, **more) -> Score:
    told = {
        "id": f"demo/{device}:{at_us}:7:0",
        "tenant": "demo",
        "site": "plant-1",
        "device": device,
        "event_us": at_us,
        "seq": 7,
        "score": value,
        "alarm_score": value,
        "severity": Severity.NONE,
        "state": ModelState.READY,
        "progress": 1.0,
        "sensors": {"flow": SensorScore(value, value, 99.0, 103.0)},
    }
    return Score(**(told | more))


def anomaly(
    device: str = "pump-01",
    phase: AnomalyPhase = AnomalyPhase.OPENED,
    opened_us: int = NOON_US,
    event_us: int | None = None,
    revision: int = 0,
    end_us: int | None = None,
    sentence: str | None = None,
) -> Anomaly:
    name = f"demo/{device}:{opened_us}"
    return Anomaly(
        id=f"{name}:{revision}",
        anomaly=name,
        revision=revision,
        phase=phase,
        tenant="demo",
        site="plant-1",
        device=device,
        device_type="generic",
        opened_us=opened_us,
        event_us=opened_us if event_us is None else event_us,
        end_us=end_us,
        score=0.8,
        peak=0.8,
        severity=Severity.CRITICAL,
        culprit="flow",
        culprits=[Culprit("flow", 1.0, 50.0, 99.0, 103.0)],
        sentence=sentence or f"Very unusual at {device}: flow read 50, below the usual 99 to 103.",
    )


def alarm(device: str = "pump-01", phase: AlarmPhase = AlarmPhase.RAISED, at_us: int = NOON_US) -> AlarmEvent:
    name = f"anomaly:demo/{device}:{NOON_US}"
    return AlarmEvent(
        id=f"{name}:{phase}",
        alarm=name,
        phase=phase,
        rule="anomaly",
        tenant="demo",
        site="plant-1",
        device=device,
        severity=Severity.CRITICAL,
        raised_us=NOON_US,
        at_us=at_us,
        summary=f"{device}: flow is low",
        cause=f"demo/{device}:{NOON_US}:0",
    )


def window(sensor: str = "flow", width_s: int = 10, start_us: int = NOON_US, revision: int = 0, **more) -> Aggregate:
    told = {
        "id": f"demo/pump-01:{sensor}:{width_s}s:{start_us}:{revision}",
        "tenant": "demo",
        "site": "plant-1",
        "device": "pump-01",
        "sensor": sensor,
        "start_us": start_us,
        "width_us": width_s * 1_000_000,
        "count": 10,
        "revision": revision,
    }
    numbers = dict.fromkeys(("mean", "std", "min", "max", "p50", "p95", "first", "last"), 1.5)
    return Aggregate(**(told | numbers | more))


def report(
    service: str,
    instance: str = "host:1",
    at_s: float = 0.0,
    by_reason: dict[str, dict[str, float]] | None = None,
    **fields,
) -> ServiceMetrics:
    """A report `at_s` seconds after noon; `by_reason` maps a field to its values by reason."""
    at_us = NOON_US + round(at_s * 1e6)
    points = [MetricPoint("", "", {name: float(value) for name, value in fields.items()})]
    for field, values in (by_reason or {}).items():
        points += [MetricPoint("", reason, {field: value}) for reason, value in values.items()]
    return ServiceMetrics(f"{service}:{instance}:{at_us}", service, instance, at_us, points)
