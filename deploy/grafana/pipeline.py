"""Weir itself: does work move, does the ledger add up, what waits for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.grafana.influxql import INTERVAL, select
from deploy.grafana.panels import (
    ANY_IS_BAD,
    CALM,
    CRITICAL,
    WARNING,
    Json,
    query,
    stat,
    state_timeline,
    steps,
    timeseries,
)
from schemas import influx

_INTERVAL = "10s"
"""Services report every 5 s: two reports in the shortest step."""


def parts() -> dict[str, Any]:
    """What `dashboard` takes."""
    return {
        "uid": "weir-pipeline",
        "title": "Weir: pipeline",
        "description": "Weir's services: throughput, lag, the ledger of messages and readings, and what holds them up.",
        "rows": [
            (5, [_reporting()]),
            (8, [_messages(), _records(), _lag()]),
            (6, [_message_ledger(), _reading_ledger()]),
            (8, [_dead_letters(), _unacknowledged(), _writes()]),
            (8, [_write_time(), _checkpoints(), _alarms()]),
        ],
    }


def _over_time(what: str, alias: str, by: Sequence[str] = ()) -> Json:
    return query(select(what, influx.PIPELINE, by=[INTERVAL, *by], fill="none"), alias=alias)


def _of(service: str) -> str:
    return f"\"service\" = '{service}'"


def _rate(field: str, alias: str, *by: str, per: str = "1s") -> Json:
    """A counter's growth. Where a service was restarted it falls: that step is left out."""
    return _over_time(f'non_negative_derivative(max("{field}"), {per})', alias, by)


def _level(field: str, alias: str, *by: str) -> Json:
    return _over_time(f'max("{field}")', alias, by)


def _reporting() -> Json:
    fields = (
        ("bridge", "bridge_unacked_messages"),
        ("stream", "stream_lag_messages"),
        ("sink", "sink_commits_refused_total"),
        ("alerts", "alerts_active_alarms"),
    )
    return state_timeline(
        "Services",
        "Whether each service reports. Red: it is down, or Kafka is. All red at once: the sink or InfluxDB is away; "
        "the reports come in later.",
        *(
            query(
                select(f'count("{field}")', influx.PIPELINE, [_of(service)], by=[INTERVAL], fill="0"),
                alias=service,
            )
            for service, field in fields
        ),
        mappings=[
            {"type": "value", "options": {"0": {"text": "silent", "color": CRITICAL, "index": 0}}},
            {
                "type": "range",
                "options": {"from": 1, "to": None, "result": {"text": "reports", "color": CALM, "index": 1}},
            },
        ],
        thresholds=steps((None, CRITICAL), (1, CALM)),
        interval="30s",
    )


def _messages() -> Json:
    return timeseries(
        "Messages",
        "Per second, on their way. The lines lie on each other; where one stays below, work piles up before it.",
        _rate("bridge_received_messages_total", "bridge: received"),
        _rate("bridge_durable_records_total", "bridge: durable in Kafka"),
        _rate("bridge_acknowledged_messages_total", "bridge: acknowledged"),
        _rate("stream_messages_received_total", "stream: received"),
        unit="reqps",
        low=0,
        interval=_INTERVAL,
    )


def _records() -> Json:
    return timeseries(
        "Results",
        "Per second: records that the stream publishes, lines that InfluxDB confirms.",
        _rate("stream_outputs_total", "stream: $tag_topic", "topic"),
        _rate("sink_lines_written_total", "sink: $tag_topic", "topic"),
        unit="reqps",
        low=0,
        interval=_INTERVAL,
    )


def _lag() -> Json:
    return timeseries(
        "Lag",
        "Records in Kafka that a service has not done yet. Growing: it is too slow or stuck, or its output is away.",
        _level("stream_lag_messages", "stream"),
        _level("sink_lag_messages", "sink: $tag_topic", "topic"),
        _level("alerts_lag_records", "alerts: $tag_topic", "topic"),
        low=0,
        thresholds=steps((None, CALM), (10_000, WARNING)),
        interval=_INTERVAL,
    )


def _ledger(title: str, description: str, total: str, parts_of_it: dict[str, str], dead: str) -> Json:
    """Totals since the log began, and what is left when the parts are taken from the whole."""
    names = ", ".join(f'last("{field}") AS "{name}"' for field, name in ({total: "in"} | parts_of_it).items())
    accounted = [*parts_of_it.values(), "dead-lettered"]
    by_reason = select(f'last("{dead}") AS "each"', influx.PIPELINE, [_of("stream")], by=["reason"])
    return stat(
        title,
        description,
        query(select(names, influx.PIPELINE, [_of("stream")]), table=True),
        query(select('sum("each") AS "dead-lettered"', f"({by_reason})"), table=True),
        graph=False,
        decimals=0,
        unit="locale",
        transformations=[
            {"id": "concatenate", "options": {"frameNameMode": "drop"}},
            {
                "id": "calculateField",
                "options": {
                    "alias": "accounted for",
                    "mode": "reduceRow",
                    "reduce": {"reducer": "sum", "include": accounted},
                    "replaceFields": False,
                },
            },
            {
                "id": "calculateField",
                "options": {
                    "alias": "unaccounted for",
                    "mode": "binary",
                    "binary": {"left": "in", "operator": "-", "right": "accounted for", "reducer": "sum"},
                    "replaceFields": False,
                },
            },
            {
                "id": "filterFieldsByName",
                "options": {"include": {"names": ["in", *accounted, "unaccounted for"]}},
            },
        ],
        overrides=[
            {
                "matcher": {"id": "byName", "options": "unaccounted for"},
                "properties": [{"id": "thresholds", "value": steps((None, CRITICAL), (0, CALM), (1, CRITICAL))}],
            }
        ],
    )


def _message_ledger() -> Json:
    return _ledger(
        "Ledger of messages",
        "in = decoded + redelivered + dead-lettered. Anything unaccounted for is loss: keep the logs. With several "
        "stream workers each reports its own partitions, and these numbers are those of one of them.",
        "stream_messages_received_total",
        {"stream_messages_decoded_total": "decoded", "stream_messages_redelivered_total": "redelivered"},
        "stream_messages_dead_lettered_total",
    )


def _reading_ledger() -> Json:
    return _ledger(
        "Ledger of readings",
        "in = stored + duplicates + dead-lettered. Anything unaccounted for is loss: keep the logs.",
        "stream_readings_decoded_total",
        {"stream_readings_stored_total": "stored", "stream_readings_duplicates_total": "duplicates"},
        "stream_readings_dead_lettered_total",
    )


def _dead_letters() -> Json:
    return timeseries(
        "Dead letters",
        "Per minute, by reason. Look into telemetry.dead-letter.",
        _rate("stream_messages_dead_lettered_total", "message: $tag_reason", "reason", per="1m"),
        _rate("stream_readings_dead_lettered_total", "reading: $tag_reason", "reason", per="1m"),
        _rate("sink_dead_letters_total", "line: $tag_reason", "reason", per="1m"),
        unit="cpm",
        low=0,
        fill=10,
        interval=_INTERVAL,
    )


def _unacknowledged() -> Json:
    return timeseries(
        "Held by the bridge",
        "Messages not yet durable in Kafka. Stuck at the receive maximum: Kafka is slow or away, and devices wait.",
        _level("bridge_unacked_messages", "unacknowledged"),
        _level("bridge_waiting_records", "waiting for room"),
        low=0,
        interval=_INTERVAL,
    )


def _writes() -> Json:
    return timeseries(
        "Writes to InfluxDB",
        "Per minute, by how they ended. `later`: it is away or overloaded; `misconfigured`: token, bucket or address; "
        "`refused`: lines for the dead letter.",
        _rate("sink_writes_total", "$tag_reason", "reason", per="1m"),
        unit="cpm",
        low=0,
        interval=_INTERVAL,
    )


def _write_time() -> Json:
    seconds, count = (f'non_negative_difference(max("sink_write_seconds_{part}"))' for part in ("sum", "count"))
    return timeseries(
        "Time of a write",
        "Mean of a write request to InfluxDB. Rising: its disk, or its number of series.",
        _over_time(f"{seconds} / {count}", "mean"),
        unit="s",
        low=0,
        interval=_INTERVAL,
    )


def _checkpoints() -> Json:
    return timeseries(
        "Stream",
        "Devices known, and share of time spent in checkpoints. No checkpoints while lag grows: it is stuck, and will "
        "end itself to start anew.",
        _level("stream_devices", "devices"),
        _rate("stream_checkpoint_seconds_total", "time in checkpoints"),
        _rate("stream_checkpoints_total", "checkpoints per minute", per="1m"),
        low=0,
        interval="30s",
        overrides=[
            {
                "matcher": {"id": "byName", "options": "time in checkpoints"},
                "properties": [
                    {"id": "unit", "value": "percentunit"},
                    {"id": "custom.axisPlacement", "value": "right"},
                ],
            }
        ],
    )


def _alarms() -> Json:
    return timeseries(
        "Alarms",
        "Alarms raised and not cleared, and notifications not sent yet. Pending ones that stay: a channel is away.",
        _level("alerts_active_alarms", "active alarms"),
        _level("alerts_pending_notifications", "pending notifications"),
        low=0,
        thresholds=ANY_IS_BAD,
        interval=_INTERVAL,
    )
