"""Ten minutes of a small plant's results, as records on the topics: what the dashboards are shown in their tests.

Three pumps of one site, two sensors each, a reading every 2 s. `pump-2` has an anomaly that is over and one that is
open, misses messages, has the most dead letters, and a ledger that does not add up. Four services report every 5 s, the
stream from two processes; their counters rise, and the whole's ledger adds up.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from schemas import topics
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.metrics import MetricPoint, ServiceMetrics
from schemas.model_event import ModelEvent, ModelEventKind, Step
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

MINUTE_US = 60_000_000
STEP_US = 2_000_000
STEPS = 300
SITE = "hall.1"
DEVICES = ("pump-1", "pump-2", "pump:3")
SENSORS = ("temperature", "flow/inlet")


class Results(NamedTuple):
    """Where results stand, and what there is to choose from."""

    url: str
    tenant: str
    site: str
    device: str
    sensors: tuple[str, ...]
    from_us: int
    to_us: int


def records(tenant: str, end_us: int) -> Iterator[tuple[str, object]]:
    """(topic, record), ending at `end_us`."""
    start_us = (end_us - STEPS * STEP_US) // MINUTE_US * MINUTE_US
    for device in DEVICES:
        yield from _device(tenant, device, start_us)
    for step in range(0, STEPS * 2, 5):
        for metrics in _metrics(start_us + step * 1_000_000, step):
            yield topics.METRICS, metrics


def _value(sensor: str, step: int) -> float:
    return 20.0 + 3.0 * math.sin(step / 20) + (5.0 if sensor == SENSORS[1] else 0.0)


def _device(tenant: str, device: str, start_us: int) -> Iterator[tuple[str, object]]:
    whose = {"tenant": tenant, "site": SITE, "device": device}
    for step in range(STEPS):
        at_us = start_us + step * STEP_US
        unusual = device == DEVICES[1] and (100 <= step < 130 or step >= 280)
        values = {s: _value(s, step) + (9.0 if unusual else 0.0) for s in SENSORS}
        identity = f"{tenant}/{device}/{step}"
        score = 0.85 if unusual else 0.1 + step % 7 / 50
        yield (
            topics.CLEAN,
            Clean(
                id=identity,
                **whose,
                device_type="generic",
                event_us=at_us,
                received_us=at_us,
                time_source=TimeSource.DEVICE,
                sent_ts=at_us,
                seq=step,
                values=values,
            ),
        )
        yield (
            topics.SCORES,
            Score(
                id=identity,
                **whose,
                event_us=at_us,
                seq=step,
                score=score,
                alarm_score=score if unusual else 0.0,
                severity=Severity.CRITICAL if unusual else Severity.NONE,
                state=ModelState.READY,
                progress=1.0,
                sensors={s: SensorScore(score, score, _value(s, step) - 2.0, _value(s, step) + 2.0) for s in SENSORS},
            ),
        )
    yield from _aggregates(whose, start_us)
    yield from _ledgers(whose, start_us)
    if device == DEVICES[1]:
        yield from _model_events(whose, start_us)
        yield from _anomalies(whose, start_us)
        yield from _gaps(whose, start_us)


def _model_events(whose: dict[str, str], start_us: int) -> Iterator[tuple[str, object]]:
    for sensor, kind, step in (
        ("", ModelEventKind.PAUSED, None),
        (SENSORS[0], ModelEventKind.DRIFT, Step.WATCH),
        (SENSORS[1], ModelEventKind.DRIFT, Step.RE_BASELINE),
    ):
        yield (
            topics.MODEL_EVENTS,
            ModelEvent(
                id=f"{whose['device']}:{kind}:{sensor}",
                kind=kind,
                **whose,
                device_type="generic",
                sensor=sensor,
                event_us=start_us + 50 * STEP_US,
                sentence=f"{kind} of {sensor or 'all'}",
                step=step,
            ),
        )


def _ledgers(whose: dict[str, str], start_us: int) -> Iterator[tuple[str, object]]:
    for number, step in enumerate((100, 200, 300)):
        dead = (
            {}
            if whose["device"] == DEVICES[0]
            else {"malformed": number + (10 if whose["device"] == DEVICES[1] else 0)}
        )
        lost = 2 if whose["device"] == DEVICES[1] and step == 300 else 0
        yield (
            topics.LEDGERS,
            DeviceLedger(
                id=f"{whose['device']}:{step}",
                **whose,
                received_us=start_us + step * STEP_US - 1,
                received=step,
                decoded=step - sum(dead.values()) - lost,
                redelivered=0,
                dead_messages=dead,
                missing_messages=lost,
                readings_decoded=step,
                readings_stored=step,
                readings_duplicates=0,
                dead_readings={},
                missing_readings=0,
            ),
        )


def _gaps(whose: dict[str, str], start_us: int) -> Iterator[tuple[str, object]]:
    for first, last, phase in (
        (50, 69, GapPhase.MISSING),
        (50, 69, GapPhase.WITHDRAWN),
        (50, 64, GapPhase.MISSING),
        (1000, 3_000_000, GapPhase.SEQ_JUMP),
    ):
        identity = f"{whose['device']}:{first}:{last}:{phase}"
        at_us = start_us + 100 * STEP_US
        yield topics.GAPS, Gap(identity, **whose, epoch=0, first_seq=first, last_seq=last, phase=phase, event_us=at_us)


def _aggregates(whose: dict[str, str], start_us: int) -> Iterator[tuple[str, object]]:
    for width_us in (10_000_000, MINUTE_US, 5 * MINUTE_US):
        for window_us in range(start_us, start_us + STEPS * STEP_US, width_us):
            for sensor in SENSORS:
                middle = _value(sensor, (window_us - start_us) // STEP_US)
                yield (
                    topics.AGGREGATES,
                    Aggregate(
                        id=f"{whose['device']}/{sensor}/{width_us}/{window_us}",
                        **whose,
                        sensor=sensor,
                        start_us=window_us,
                        width_us=width_us,
                        count=width_us // STEP_US,
                        mean=middle,
                        std=0.5,
                        min=middle - 1.0,
                        max=middle + 1.0,
                        p50=middle,
                        p95=middle + 0.9,
                        first=middle,
                        last=middle,
                        revision=0,
                    ),
                )


def _anomalies(whose: dict[str, str], start_us: int) -> Iterator[tuple[str, object]]:
    opened_us = (start_us + 100 * STEP_US, start_us + 280 * STEP_US)
    for number, phases in enumerate(((AnomalyPhase.OPENED, AnomalyPhase.CLOSED), (AnomalyPhase.OPENED,))):
        for revision, phase in enumerate(phases):
            at_us = opened_us[number] + revision * 30 * STEP_US
            yield (
                topics.ANOMALIES,
                Anomaly(
                    id=f"anomaly-{number}:{revision}",
                    anomaly=f"anomaly-{number}",
                    revision=revision,
                    phase=phase,
                    **whose,
                    device_type="generic",
                    opened_us=opened_us[number],
                    event_us=at_us,
                    end_us=at_us if phase is AnomalyPhase.CLOSED else None,
                    score=0.85,
                    peak=0.85,
                    severity=Severity.CRITICAL,
                    culprit=SENSORS[0],
                    culprits=[],
                    sentence="temperature is 32.0, expected 18.0 to 22.0",
                ),
            )


def _metrics(at_us: int, second: int) -> Iterator[ServiceMetrics]:
    """Counters as they would stand `second` seconds after the start: 30 messages/s, one in 30 is bad.

    The stream's are those of each of its two processes, which have half of the messages each.
    """
    messages, bad = 30.0 * second, 1.0 * second
    readings = 2 * (messages - bad)
    topic = topics.CLEAN
    half, half_bad, half_readings = messages / 2, bad / 2, readings / 2
    told = {
        "bridge": [
            _point(
                bridge_received_messages_total=messages,
                bridge_durable_records_total=messages,
                bridge_acknowledged_messages_total=messages,
                bridge_unacked_messages=3.0,
                bridge_waiting_records=0.0,
            )
        ],
        "stream": [
            _point(
                stream_messages_received_total=half,
                stream_messages_decoded_total=half - half_bad,
                stream_messages_redelivered_total=0.0,
                stream_readings_decoded_total=half_readings,
                stream_readings_stored_total=half_readings - half_bad,
                stream_readings_duplicates_total=0.0,
                stream_lag_messages=12.0,
                stream_devices=3.0,
                stream_checkpoints_total=second // 10,
                stream_checkpoint_seconds_total=second / 200,
            ),
            _point(reason="malformed", stream_messages_dead_lettered_total=half_bad),
            _point(reason="out_of_range", stream_readings_dead_lettered_total=half_bad),
            _point(topic=topic, stream_outputs_total=half),
        ],
        "sink": [
            _point(
                sink_write_seconds_sum=second / 50,
                sink_write_seconds_count=float(second),
                sink_commits_refused_total=0.0,
            ),
            _point(topic=topic, sink_lines_written_total=readings, sink_lag_messages=40.0),
            _point(reason="stored", sink_writes_total=float(second)),
            _point(reason="sink_refused", sink_dead_letters_total=second // 100),
        ],
        "alerts": [
            _point(alerts_active_alarms=1.0, alerts_pending_notifications=0.0),
            _point(topic=topics.ANOMALIES, alerts_lag_records=0.0),
        ],
    }
    for service, points in told.items():
        for name in (service, "stream-2") if service == "stream" else (service,):
            yield ServiceMetrics(f"{name}:{at_us}", service, instance="plant:1", at_us=at_us, points=points, name=name)


def _point(topic: str = "", reason: str = "", **fields: float) -> MetricPoint:
    return MetricPoint(topic=topic, reason=reason, fields={name: float(value) for name, value in fields.items()})
