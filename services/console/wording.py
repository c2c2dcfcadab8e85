"""Records in words: one line each, safe to print whatever a device wrote."""

from typing import Any

from schemas import raw
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.dead_letter import DeadLetter
from schemas.metrics import ServiceMetrics
from schemas.model_event import ModelEvent
from schemas.telemetry import Aggregate, Clean, DeviceLedger, Gap, Score, Status
from services.console.records import Entry
from services.console.times import clock

_PREVIEW = 120


def line_of(entry: Entry) -> str:
    """One record as one line; what cannot be printed is escaped, so that a device cannot steer the terminal."""
    return printable(_in_words(entry))


def printable(text: str) -> str:
    """Control characters, line breaks and broken text as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def preview(payload: bytes) -> str:
    """The beginning of a payload, to be read."""
    text = payload[: _PREVIEW + 1].decode("utf-8", "backslashreplace")
    return printable(text[:_PREVIEW]) + ("…" if len(text) > _PREVIEW or len(payload) > _PREVIEW + 1 else "")


def values(readings: dict[str, float]) -> str:
    """Sensors and their values."""
    return "  ".join(f"{sensor} {value:.6g}" for sensor, value in readings.items())


def _in_words(entry: Entry) -> str:
    record: Any = entry.record
    written = clock(entry.timestamp_ms * 1000)
    match record:
        case Clean():
            marks = [name for name, there in (("late", record.late), ("stuck", bool(record.stuck))) if there]
            marks += [] if record.time_source == "device" else [str(record.time_source)]
            said = values(record.values) + "".join(f"  [{mark}]" for mark in marks)
            return f"{clock(record.event_us)} {entry.key} {said}"
        case Score():
            parts = "  ".join(f"{sensor} {part.score:.2f}" for sensor, part in record.sensors.items())
            learns = f" learning {record.progress:.0%}" if record.state == "learning" else ""
            learns = " paused" if record.state == "paused" else learns
            head = f"{clock(record.event_us)} {entry.key} {record.score:.3f} {record.severity}{learns}"
            return f"{head} (alarm {record.alarm_score:.3f})  {parts}"
        case Aggregate():
            about = f" revision {record.revision}" if record.revision else ""
            about += " provisional" if record.provisional else ""
            numbers = (record.mean, record.std, record.min, record.max, record.p50, record.p95)
            said = " ".join(
                f"{n} {v:.5g}" for n, v in zip(("mean", "std", "min", "max", "p50", "p95"), numbers, strict=True)
            )
            width = record.width_us // 1_000_000
            return f"{clock(record.start_us)} {entry.key} {record.sensor} {width} s: n {record.count} {said}{about}"
        case Anomaly():
            return f"{clock(record.event_us)} {entry.key} {record.phase} peak {record.peak:.2f}: {record.sentence}"
        case ModelEvent():
            step = f" (advised: {record.step})" if record.step is not None else ""
            return f"{clock(record.event_us)} {entry.key} {record.kind}: {record.sentence}{step}"
        case AlarmEvent():
            about = f"{record.phase} by {record.rule}, {record.severity}"
            return f"{clock(record.at_us)} {entry.key} {about}: {record.summary}"
        case DeadLetter() if record.replayed_us is not None:
            return f"{clock(record.replayed_us)} {entry.key} {record.id} ({record.reason}) was replayed"
        case DeadLetter():
            sensor = f" {record.sensor}" if record.sensor else ""
            why = f"{record.reason} ({record.stage}){sensor}: {record.detail}"
            return f"{clock(record.received_us)} {entry.key} {why} | {record.mqtt_topic} {preview(record.payload)}"
        case Gap():
            lost = record.last_seq - record.first_seq + 1
            span = f"seq {record.first_seq} to {record.last_seq} ({lost})"
            return f"{clock(record.event_us)} {entry.key} {record.phase}: {span}"
        case DeviceLedger():
            dead = sum(record.dead_messages.values()), sum(record.dead_readings.values())
            said = f"{record.received} messages, {dead[0]} dead; {record.readings_decoded} readings, {dead[1]} dead"
            missing = (record.missing_messages, record.missing_readings)
            return f"{clock(record.received_us)} {entry.key} {said}; unaccounted for: {missing[0]} and {missing[1]}"
        case Status():
            return f"{clock(record.received_us)} {entry.key} {record.text}"
        case ServiceMetrics():
            measured = sum(len(point.fields) for point in record.points)
            return f"{clock(record.at_us)} {record.service} {record.instance}: {measured} measurements"
    if raw.OPERATOR_COMMAND in entry.headers:
        return f"{written} {entry.key} operator command {preview(entry.value)}"
    if raw.MQTT_TOPIC in entry.headers:
        reject = f" refused: {entry.headers[raw.REJECT]}" if raw.REJECT in entry.headers else ""
        return f"{written} {entry.key} {len(entry.value)} B{reject} {preview(entry.value)}"
    return f"{written} {entry.key} {len(entry.value)} B"
