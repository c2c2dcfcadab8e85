"""The fleet: is data coming, who is unusual now, what has happened."""

from __future__ import annotations

from typing import Any

from deploy.grafana.influxql import INTERVAL, PAST_WEEK, chosen, latest_first, select, summed, tag_values
from deploy.grafana.panels import (
    ANY_IS_BAD,
    CALM,
    CRITICAL,
    LONG,
    OVER_BUDGET,
    SEVERITY,
    Json,
    override,
    query,
    stat,
    table,
    timeseries,
    variable,
)
from schemas import influx

_WHERE = chosen("tenant", "site")
_OWN = ["\"sensor\" = ''", *_WHERE]
"""The device's own scores have no sensor."""
_DEVICE = ("tenant", "site", "device")

_DEVICE_LINK = [
    {
        "title": "Show ${__data.fields.Device}",
        "url": "/d/weir-device?var-tenant=${__data.fields.Tenant}&var-site=${__data.fields.Site}"
        "&var-device=${__data.fields.Device}&${__url_time_range}",
    }
]
_COLORED = {"type": "color-background", "mode": "basic"}


def parts() -> dict[str, Any]:
    """What `dashboard` takes."""
    return {
        "uid": "weir-fleet",
        "title": "Weir: fleet",
        "description": "All devices: whether data comes in, which devices are unusual now, and their anomalies.",
        "variables": _variables(),
        "rows": [
            (4, [_readings(), _devices(), _unusual(), _open_anomalies(), _dead_letters()]),
            (10, [_worst() | {"share": 2}, _worst_over_time()]),
            (10, [_anomalies() | {"share": 2}, _alarms_by_device()]),
            (8, [_by_reason()]),
        ],
    }


def _variables() -> list[Json]:
    return [
        variable("tenant", "Tenant", tag_values(influx.READINGS, "tenant"), everything=True),
        variable("site", "Site", tag_values(influx.READINGS, "site", chosen("tenant")), multi=True, everything=True),
    ]


def _readings() -> Json:
    return stat(
        "Readings",
        "Readings per second, by event time. Falls to 0: devices, MQTT broker or bridge; see the pipeline.",
        query(
            select('sum("count") * 1000 / $__interval_ms', influx.AGGREGATES_10S, _WHERE, by=[INTERVAL], fill="null"),
            alias="readings/s",
        ),
        unit="reqps",
        interval="30s",
        decimals=1,
    )


def _devices() -> Json:
    each = select('last("score") AS "score"', influx.SCORES, _OWN, by=_DEVICE)
    return stat(
        "Devices",
        "Devices that were scored in this time range. Fewer than usual: some are silent.",
        query(
            select('count("score")', f"({each})"),
            alias="devices",
        ),
        graph=False,
    )


def _unusual() -> Json:
    return stat(
        "Most unusual",
        "The highest score of any device. 0.5 is the alarm line.",
        query(
            select('max("score")', influx.SCORES, _OWN, by=[INTERVAL], fill="null"),
            alias="score",
        ),
        unit="none",
        thresholds=SEVERITY,
        decimals=2,
    )


def _open_anomalies() -> Json:
    return stat(
        "Open anomalies",
        "Anomalies that began in this time range and have not ended.",
        query(
            select('sum("open")', influx.ANOMALIES, _WHERE),
            alias="open",
            source=LONG,
        ),
        thresholds=ANY_IS_BAD,
        graph=False,
        decimals=0,
    )


def _new(field: str) -> str:
    """By how much a counter with reasons has grown, over all reasons."""
    growth = f'non_negative_difference(max("{field}")) AS "new"'
    steps = select(growth, influx.PIPELINE, by=[INTERVAL, "reason", "instance"])
    return select('sum("new")', f"({steps})")


def _dead_letters() -> Json:
    return stat(
        "Dead letters",
        "Messages and readings that could not be processed, and lines that InfluxDB refused, in this time range. All "
        "tenants. Their bytes and reasons are in telemetry.dead-letter.",
        *(
            query(_new(field), alias=alias)
            for field, alias in (
                ("stream_messages_dead_lettered_total", "messages"),
                ("stream_readings_dead_lettered_total", "readings"),
                ("sink_dead_letters_total", "lines"),
            )
        ),
        thresholds=ANY_IS_BAD,
        graph=False,
        interval="10s",
        decimals=0,
    )


def _worst() -> Json:
    return table(
        "Most unusual devices",
        "Each device's score now and its highest in this time range. Click on a device to see it.",
        query(
            select('last("score") AS "now", max("score") AS "highest"', influx.SCORES, _OWN, by=_DEVICE),
            table=True,
        ),
        columns={"tenant": "Tenant", "site": "Site", "device": "Device", "now": "Now", "highest": "Highest"},
        overrides=[
            override("Device", links=_DEVICE_LINK),
            override("Now", thresholds=SEVERITY, custom__cellOptions=_COLORED, decimals=2, custom__width=90),
            override("Highest", thresholds=SEVERITY, custom__cellOptions=_COLORED, decimals=2, custom__width=90),
        ],
        sort="Now",
        limit=50,
    )


def _worst_over_time() -> Json:
    return timeseries(
        "Unusual devices over time",
        "Each device's highest score; dashed: notice, warning, critical.",
        query(
            select('max("score")', influx.SCORES, _OWN, by=[INTERVAL, *_DEVICE], fill="none"),
            alias="$tag_tenant/$tag_device",
        ),
        unit="none",
        thresholds=SEVERITY,
        line_at_thresholds=True,
        low=0,
        high=1,
        decimals=2,
    )


def _anomalies() -> Json:
    return table(
        "Anomalies",
        "Latest first: what was unusual, by how much, and whether it is over.",
        query(
            latest_first(
                select(
                    '"tenant", "site", "device", "open", "severity", "peak", "culprit", "sentence", '
                    '"end_us" / 1000 AS "ended"',
                    influx.ANOMALIES,
                    _WHERE,
                ),
                100,
            ),
            source=LONG,
            table=True,
        ),
        columns={
            "Time": "Began",
            "ended": "Ended",
            "tenant": "Tenant",
            "site": "Site",
            "device": "Device",
            "open": "State",
            "severity": "Severity",
            "peak": "Peak",
            "culprit": "Culprit",
            "sentence": "What",
        },
        overrides=[
            override("Ended", unit="dateTimeAsIso"),
            override("Device", links=_DEVICE_LINK),
            override(
                "State",
                mappings=[
                    {
                        "type": "value",
                        "options": {
                            "1": {"text": "open", "color": CRITICAL, "index": 0},
                            "0": {"text": "over", "color": CALM, "index": 1},
                        },
                    }
                ],
                custom__cellOptions={"type": "color-text"},
                custom__width=80,
            ),
            override("Peak", thresholds=SEVERITY, custom__cellOptions=_COLORED, decimals=2, custom__width=80),
            override("What", custom__width=420),
        ],
        sort="Began",
    )


def _alarms_by_device() -> Json:
    return table(
        "Alarms in 7 days",
        "Anomalies that opened in the last 7 days, whatever the time range. A device's budget is one a week, or "
        "`alarms_per_week` of its type: above it, look at the device; see `weir status --devices`.",
        query(
            select('count("peak") AS "alarms"', influx.ANOMALIES, _WHERE, by=_DEVICE, within=PAST_WEEK),
            table=True,
            source=LONG,
        ),
        columns={"tenant": "Tenant", "site": "Site", "device": "Device", "alarms": "Alarms"},
        overrides=[
            override("Device", links=_DEVICE_LINK),
            override("Alarms", thresholds=OVER_BUDGET, custom__cellOptions=_COLORED, decimals=0, custom__width=90),
        ],
        sort="Alarms",
        limit=50,
    )


def _per_minute(field: str) -> str:
    growth = f'non_negative_derivative(max("{field}"), 1m)'
    return summed(growth, influx.PIPELINE, by=[INTERVAL, "reason"], fill="none")


def _by_reason() -> Json:
    return timeseries(
        "Dead letters by reason",
        "Per minute, all tenants. One reason rising: one device or one new firmware; see telemetry.dead-letter.",
        query(
            _per_minute("stream_messages_dead_lettered_total"),
            alias="message: $tag_reason",
        ),
        query(
            _per_minute("stream_readings_dead_lettered_total"),
            alias="reading: $tag_reason",
        ),
        unit="cpm",
        low=0,
        fill=10,
        interval="10s",
    )
