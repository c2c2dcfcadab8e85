"""One device: its readings with what was expected of them, its score, its anomalies."""

from __future__ import annotations

from typing import Any

from deploy.grafana.influxql import INTERVAL, PAST_WEEK, chosen, latest_first, select, tag_values
from deploy.grafana.panels import (
    CRITICAL,
    LONG,
    NEUTRAL,
    OVER_BUDGET,
    SEVERITY,
    Json,
    override,
    override_matching,
    query,
    repeated,
    stat,
    table,
    timeseries,
    variable,
)
from schemas import influx

_WHERE = chosen("tenant", "site", "device")
_OWN = ["\"sensor\" = ''", *_WHERE]
_SENSOR = ["\"sensor\" != ''", *chosen("tenant", "site", "device", "sensor")]


def parts() -> dict[str, Any]:
    """What `dashboard` takes."""
    return {
        "uid": "weir-device",
        "title": "Weir: device",
        "description": "One device: readings in their expected band, how unusual they are, and its anomalies.",
        "variables": _variables(),
        "annotations": [_anomalies(), _model_events()],
        "rows": [
            (8, [_score() | {"share": 5}, _alarms()]),
            (9, [repeated(_readings(), "sensor")]),
            (8, [repeated(_minutes(), "sensor")]),
            (8, [_models()]),
        ],
    }


def _variables() -> list[Json]:
    def values(key: str, *given: str) -> str:
        return tag_values(influx.READINGS, key, chosen(*given))

    return [
        variable("tenant", "Tenant", values("tenant")),
        variable("site", "Site", values("site", "tenant"), everything=True),
        variable("device", "Device", values("device", "tenant", "site")),
        variable("sensor", "Sensor", values("sensor", "tenant", "site", "device"), multi=True, everything=True),
    ]


def _anomalies() -> Json:
    """Regions from an anomaly's opening to its end; an open one is a line."""
    mapping = {"textColumn": "sentence", "tagsColumn": "severity,culprit", "timeEndColumn": "ended"}
    text = select('"end_us" / 1000 AS "ended", "severity", "culprit", "sentence"', influx.ANOMALIES, _WHERE)
    # Grafana 9 reads the mapping beside the query, newer ones from the target.
    target = {"refId": "Anno", "query": text, "rawQuery": True, "fromAnnotations": True, "resultFormat": "table"}
    return {
        "name": "Anomalies",
        "datasource": LONG,
        "enable": True,
        "hide": False,
        "iconColor": CRITICAL,
        "query": text,
        "target": target | mapping,
    } | mapping


def _model_events() -> Json:
    """A line where something happened to the device's models."""
    mapping = {"textColumn": "sentence", "tagsColumn": "kind,step"}
    text = select('"kind", "step", "sentence"', influx.MODEL_EVENTS, _WHERE)
    target = {"refId": "Anno", "query": text, "rawQuery": True, "fromAnnotations": True, "resultFormat": "table"}
    return {
        "name": "Models",
        "datasource": LONG,
        "enable": True,
        "hide": False,
        "iconColor": NEUTRAL,
        "query": text,
        "target": target | mapping,
    } | mapping


def _models() -> Json:
    names = '"kind", "sensor", "step", "sentence"'
    return table(
        "Models",
        "What happened to the device's models: a regime adopted, drift and what is advised, pauses, re-baselines "
        "(`weir model`).",
        query(latest_first(select(names, influx.MODEL_EVENTS, _WHERE), 100), table=True, source=LONG),
        columns={"Time": "when", "kind": "what", "sensor": "sensor", "step": "advised", "sentence": "in words"},
        sort="when",
    )


def _by_sensor(what: str, measurement: str) -> str:
    return select(what, measurement, _SENSOR, by=[INTERVAL, "sensor"], fill="none")


def _score() -> Json:
    return timeseries(
        "How unusual",
        "0 is as ever, from 0.5 on an alarm; dashed: notice 0.5, warning 0.7, critical 0.8. `alarm` is the score after "
        "the quiet rule: it is what opens anomalies.",
        query(select('max("score")', influx.SCORES, _OWN, by=[INTERVAL], fill="none"), alias="device"),
        query(select('max("alarm_score")', influx.SCORES, _OWN, by=[INTERVAL], fill="none"), alias="device, alarm"),
        query(_by_sensor('max("score")', influx.SCORES), alias="$tag_sensor"),
        unit="none",
        thresholds=SEVERITY,
        line_at_thresholds=True,
        low=0,
        high=1,
        decimals=2,
        overrides=[
            override("device", custom__lineWidth=3, color={"mode": "fixed", "fixedColor": NEUTRAL}),
            override(
                "device, alarm",
                custom__lineWidth=0,
                custom__fillOpacity=25,
                color={"mode": "fixed", "fixedColor": CRITICAL},
            ),
        ],
    )


def _alarms() -> Json:
    return stat(
        "Alarms in 7 days",
        "Anomalies that opened in the last 7 days, whatever the time range. A device's budget is one a week, or "
        "`alarms_per_week` of its type; one that alarms more often must show more each time. What it has spent: "
        "`weir status --devices`.",
        query(
            select('count("peak")', influx.ANOMALIES, _WHERE, within=PAST_WEEK),
            alias="alarms",
            source=LONG,
        ),
        thresholds=OVER_BUDGET,
        graph=False,
        decimals=0,
    )


def _readings() -> Json:
    # A moment's widest band and mean value: what the model expected, and what came.
    bounds = [
        query(_by_sensor(what, influx.SCORES), alias=alias)
        for what, alias in (('min("expected_low")', "expected, low"), ('max("expected_high")', "expected, high"))
    ]
    invisible: dict[str, Any] = {
        "custom__lineWidth": 0,
        "color": {"mode": "fixed", "fixedColor": NEUTRAL},
        "custom__hideFrom": {"legend": True, "tooltip": False, "viz": False},
    }
    return timeseries(
        "$sensor",
        "Readings, and the band that the model expected them in. Red regions: anomalies of the device.",
        query(_by_sensor('mean("value")', influx.READINGS), alias="$tag_sensor"),
        *bounds,
        overrides=[
            override("expected, low", **invisible),
            override("expected, high", **invisible, custom__fillBelowTo="expected, low", custom__fillOpacity=18),
            override_matching("^(?!expected)", custom__lineWidth=2),
        ],
    )


def _minutes() -> Json:
    series = (('max("max")', "max"), ('max("p95")', "p95"), ('mean("mean")', "mean"), ('min("min")', "min"))
    return timeseries(
        "$sensor, by minute",
        "1-minute windows, kept for 2 years: mean, range and 95th percentile.",
        *(query(_by_sensor(what, influx.AGGREGATES_1M), alias=alias, source=LONG) for what, alias in series),
        interval="1m",
        overrides=[
            override("max", custom__fillBelowTo="min", custom__fillOpacity=10, custom__lineWidth=0),
            override("min", custom__lineWidth=0),
            override("mean", custom__lineWidth=2),
            override("p95", custom__lineStyle={"fill": "dash", "dash": [6, 4]}),
        ],
    )
