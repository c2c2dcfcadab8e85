"""Builders of the records that the sink reads."""

from typing import Any

from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.model_event import ModelEvent, ModelEventKind
from schemas.telemetry import (
    Aggregate,
    Clean,
    DeviceLedger,
    Gap,
    GapPhase,
    ModelState,
    Score,
    SensorScore,
    Severity,
    TimeSource,
)

AT_US = 1_700_000_000_000_000


def clean(**changed: Any) -> Clean:
    return Clean(
        **{
            "id": "acme/pump-1/1700000000000:17",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "device_type": "generic",
            "event_us": AT_US,
            "received_us": AT_US + 5,
            "time_source": TimeSource.DEVICE,
            "sent_ts": 1_700_000_000_000,
            "seq": None,
            "values": {"temperature": 21.5},
        }
        | changed
    )


def score(**changed: Any) -> Score:
    return Score(
        **{
            "id": "acme/pump-1/1700000000000:17",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "event_us": AT_US,
            "seq": None,
            "score": 0.25,
            "alarm_score": 0.125,
            "severity": Severity.NONE,
            "state": ModelState.READY,
            "progress": 1.0,
            "sensors": {"temperature": SensorScore(0.5, 0.25, 20.0, 23.0)},
        }
        | changed
    )


def aggregate(**changed: Any) -> Aggregate:
    return Aggregate(
        **{
            "id": "acme/pump-1/temperature/10/1700000000",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "sensor": "temperature",
            "start_us": AT_US,
            "width_us": 10_000_000,
            "count": 3,
            "mean": 2.0,
            "std": 1.0,
            "min": 1.0,
            "max": 3.0,
            "p50": 2.0,
            "p95": 3.0,
            "first": 1.0,
            "last": 3.0,
            "revision": 0,
        }
        | changed
    )


def anomaly(**changed: Any) -> Anomaly:
    return Anomaly(
        **{
            "id": "acme/pump-1/1700000000000000:0",
            "anomaly": "acme/pump-1/1700000000000000",
            "revision": 0,
            "phase": AnomalyPhase.OPENED,
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "device_type": "generic",
            "opened_us": AT_US,
            "event_us": AT_US,
            "end_us": None,
            "score": 0.75,
            "peak": 0.75,
            "severity": Severity.WARNING,
            "culprit": "temperature",
            "culprits": [],
            "sentence": "temperature is 40.0, expected 20.0 to 23.0",
        }
        | changed
    )


def gap(first: int = 43, last: int = 57, phase: GapPhase = GapPhase.MISSING, **changed: Any) -> Gap:
    return Gap(
        **{
            "id": f"acme/pump-1:0:{first}:{last}:{phase}",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "epoch": 0,
            "first_seq": first,
            "last_seq": last,
            "phase": phase,
            "event_us": AT_US,
        }
        | changed
    )


def ledger(**changed: Any) -> DeviceLedger:
    return DeviceLedger(
        **{
            "id": f"3:acme/pump-1:{AT_US}:402",
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "received_us": AT_US,
            "received": 402,
            "decoded": 396,
            "redelivered": 3,
            "dead_messages": {"malformed": 1, "too_deep": 1},
            "missing_messages": 1,
            "readings_decoded": 796,
            "readings_stored": 793,
            "readings_duplicates": 1,
            "dead_readings": {"out_of_range": 2},
            "missing_readings": 0,
        }
        | changed
    )


def model_event(**changed: Any) -> ModelEvent:
    return ModelEvent(
        **{
            "id": f"acme/pump-1:@3:17:paused:{changed.get('sensor', '')}",
            "kind": ModelEventKind.PAUSED,
            "tenant": "acme",
            "site": "berlin",
            "device": "pump-1",
            "device_type": "generic",
            "sensor": "",
            "event_us": AT_US,
            "sentence": "pump-1 is paused until it is resumed.",
        }
        | changed
    )
