"""Weir itself: does work move, does the ledger add up, what waits for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.grafana.influxql import INTERVAL, latest_first, select, summed
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
    table,
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
            (8, [_unaccounted(), _dead_letters_by_device()]),
            (8, [_missing(), _gaps()]),
        ],
    }


def _over_time(each: str, alias: str, by: Sequence[str] = ()) -> Json:
    """The sum over a service's processes."""
    return query(summed(each, influx.PIPELINE, by=[INTERVAL, *by], fill="none"), alias=alias)


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
    columns = ({total: "in"} | parts_of_it).items()
    names = ", ".join(f'last("{field}") AS "{name}"' for field, name in columns)
    sums = ", ".join(f'sum("{name}") AS "{name}"' for _, name in columns)
    accounted = [*parts_of_it.values(), "dead-lettered"]
    by_process = select(names, influx.PIPELINE, [_of("stream")], by=["instance"])
    by_reason = select(f'last("{dead}") AS "each"', influx.PIPELINE, [_of("stream")], by=["reason", "instance"])
    return stat(
        title,
        description,
        query(select(sums, f"({by_process})"), table=True),
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
        "in = decoded + redelivered + dead-lettered. Anything unaccounted for is loss: keep the logs. A worker that "
        "was stopped in this time range is counted too, although others have its partitions now.",
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


_DEVICE = ("tenant", "site", "device")
_WHOSE = {"tenant": "Tenant", "site": "Site", "device": "Device"}


def _unaccounted() -> Json:
    each = select(
        'last("missing_messages") AS "messages", last("missing_readings") AS "readings", '
        'last("received") AS "received"',
        influx.LEDGER,
        by=_DEVICE,
    )
    return table(
        "Devices that do not add up",
        "Empty when all is well. Messages and readings of a device that are neither stored, nor repeats, nor dead "
        "letters: that is loss. Keep the logs and run `weir audit`.",
        query(
            select(
                '"messages", "readings", "received"',
                f"({each})",
                ['("messages" <> 0 OR "readings" <> 0)'],
                by=_DEVICE,
            ),
            table=True,
        ),
        columns=_WHOSE | {"messages": "Messages lost", "readings": "Readings lost", "received": "Messages in all"},
        sort="Messages lost",
        limit=50,
    )


def _dead_letters_by_device() -> Json:
    return table(
        "Devices with the most dead letters",
        "In this time range, and since each device was first seen. Device `$` stands for those that were refused or "
        "forgotten. `weir dead-letter list` shows what they hold.",
        query(
            select(
                'spread("dead_messages") + spread("dead_readings") AS "new", last("dead_messages") AS "messages", '
                'last("dead_readings") AS "readings", last("received") AS "received"',
                influx.LEDGER,
                by=_DEVICE,
            ),
            table=True,
        ),
        columns=_WHOSE
        | {"new": "In this range", "messages": "Messages", "readings": "Readings", "received": "Messages in all"},
        sort="In this range",
        limit=50,
    )


def _missing() -> Json:
    return timeseries(
        "Missing messages",
        "Sequence numbers that did not come, when that became known; below 0: some came after all. They were lost "
        "before Weir: in the device, on its way, or in an MQTT broker that was killed.",
        query(select('sum("missing")', influx.GAPS, by=[INTERVAL], fill="none"), alias="missing"),
        fill=10,
        interval=_INTERVAL,
    )


def _gaps() -> Json:
    names = '"tenant", "site", "device", "missing", "leapt", "first_seq", "last_seq"'
    return table(
        "Gaps",
        "Latest first: ranges of sequence numbers that are missing, or (below 0) were filled. Leapt: the device's "
        "counter jumped, and no loss is claimed.",
        query(latest_first(select(names, influx.GAPS), 100), table=True),
        columns={"Time": "Known at"}
        | _WHOSE
        | {"missing": "Missing", "leapt": "Leapt", "first_seq": "From seq", "last_seq": "To seq"},
        sort="Known at",
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
    seconds, count = (
        f'non_negative_difference(max("sink_write_seconds_{part}")) AS "{part}"' for part in ("sum", "count")
    )
    each = select(f"{seconds}, {count}", influx.PIPELINE, by=[INTERVAL, "instance"], fill="none")
    return timeseries(
        "Time of a write",
        "Mean of a write request to InfluxDB. Rising: its disk, or its number of series.",
        query(select('sum("sum") / sum("count")', f"({each})", by=[INTERVAL], fill="none"), alias="mean"),
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
