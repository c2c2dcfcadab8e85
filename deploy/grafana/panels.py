"""Pieces of a dashboard, as Grafana's JSON. Nothing here knows what Weir shows; the dashboards do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

SHORT: Json = {"type": "influxdb", "uid": "weir-influxdb"}
"""Bucket `telemetry`."""
LONG: Json = {"type": "influxdb", "uid": "weir-influxdb-long"}
"""Bucket `telemetry_long`."""

# An operator's colours: what is normal recedes, what needs a look stands out.
CALM = "#73BF69"
NOTICE = "#FADE2A"
WARNING = "#FF9830"
CRITICAL = "#F2495C"
NEUTRAL = "#8AB8FF"

SCHEMA_VERSION = 38
"""Grafana 9.4's; newer ones bring it up to date when they load it."""


def steps(*bounds: tuple[float | None, str]) -> Json:
    """Thresholds: from each value on, a colour; None is "from the beginning"."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in bounds]}


SEVERITY = steps((None, CALM), (0.5, NOTICE), (0.7, WARNING), (0.8, CRITICAL))
"""As `schemas.telemetry.Severity` has them; 0.5 is the alarm line."""
ANY_IS_BAD = steps((None, CALM), (1, WARNING))
OVER_BUDGET = steps((None, CALM), (2, NOTICE), (3, WARNING))
"""Alarms of a device in a week; the budget is 1, unless its type says otherwise."""
PLAIN = steps((None, NEUTRAL))


def query(
    text: str, *, alias: str = "", source: Json = SHORT, table: bool = False, ref: str = "A", hide: bool = False
) -> Json:
    """One InfluxQL query of a panel."""
    return {
        "refId": ref,
        "datasource": source,
        "query": text,
        "rawQuery": True,
        "resultFormat": "table" if table else "time_series",
        "alias": alias,
        "hide": hide,
    }


def override(name: str, **properties: Any) -> Json:
    """Settings of one field; `__` in a property's name stands for a dot."""
    return _override({"id": "byName", "options": name}, properties)


def override_matching(pattern: str, **properties: Any) -> Json:
    """Settings of the fields that match a regular expression."""
    return _override({"id": "byRegexp", "options": f"/{pattern}/"}, properties)


def _override(matcher: Json, properties: Mapping[str, Any]) -> Json:
    return {
        "matcher": matcher,
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def _panel(kind: str, title: str, description: str, queries: Sequence[Json], **more: Any) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": queries[0]["datasource"],
        "targets": [target | {"refId": chr(ord("A") + n)} for n, target in enumerate(queries)],
    } | more


def timeseries(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    overrides: Sequence[Json] = (),
    thresholds: Json = PLAIN,
    line_at_thresholds: bool = False,
    low: float | None = None,
    high: float | None = None,
    fill: int = 0,
    stack: bool = False,
    interval: str = "",
    decimals: int | None = None,
) -> Json:
    """Lines over time."""
    custom: Json = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": fill,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if line_at_thresholds else "off"},
        "axisPlacement": "auto",
    }
    defaults: Json = {
        "unit": unit,
        "custom": custom,
        "color": {"mode": "palette-classic"},
        "thresholds": thresholds,
        "min": low,
        "max": high,
        "decimals": decimals,
    }
    return _panel(
        "timeseries",
        title,
        description,
        queries,
        interval=interval,
        fieldConfig={
            "defaults": {name: value for name, value in defaults.items() if value is not None},
            "overrides": list(overrides),
        },
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def stat(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    thresholds: Json = PLAIN,
    calculation: str = "lastNotNull",
    graph: bool = True,
    interval: str = "",
    decimals: int | None = None,
    transformations: Sequence[Json] = (),
    overrides: Sequence[Json] = (),
) -> Json:
    """One large number (or a few), with its course behind it."""
    defaults: Json = {"unit": unit, "thresholds": thresholds, "color": {"mode": "thresholds"}, "noValue": "0"}
    if decimals is not None:
        defaults["decimals"] = decimals
    return _panel(
        "stat",
        title,
        description,
        queries,
        interval=interval,
        transformations=list(transformations),
        fieldConfig={"defaults": defaults, "overrides": list(overrides)},
        options={
            "reduceOptions": {"calcs": [calculation], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area" if graph else "none",
            "justifyMode": "auto",
            "textMode": "auto",
            "orientation": "auto",
        },
    )


def table(
    title: str,
    description: str,
    *queries: Json,
    columns: Mapping[str, str],
    overrides: Sequence[Json] = (),
    sort: str = "",
    limit: int = 0,
) -> Json:
    """Rows. `columns` are the fields shown, in this order, with their headings; `sort` is one of the headings."""
    transformations: list[Json] = [
        {"id": "merge", "options": {}},
        {
            "id": "filterFieldsByName",
            "options": {"include": {"names": list(columns)}},
        },
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: position for position, name in enumerate(columns)},
                "renameByName": dict(columns),
            },
        },
    ]
    if sort:
        transformations.append({"id": "sortBy", "options": {"fields": {}, "sort": [{"field": sort, "desc": True}]}})
    if limit:
        transformations.append({"id": "limit", "options": {"limitField": limit}})
    return _panel(
        "table",
        title,
        description,
        queries,
        transformations=transformations,
        fieldConfig={
            "defaults": {
                "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True},
                "thresholds": PLAIN,
                "color": {"mode": "thresholds"},
            },
            "overrides": list(overrides),
        },
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}},
    )


def state_timeline(
    title: str, description: str, *queries: Json, mappings: Sequence[Json], thresholds: Json, interval: str
) -> Json:
    """Bands of colour over time, one for each query."""
    return _panel(
        "state-timeline",
        title,
        description,
        queries,
        interval=interval,
        fieldConfig={
            "defaults": {
                "color": {"mode": "thresholds"},
                "thresholds": thresholds,
                "mappings": list(mappings),
                "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False},
            },
            "overrides": [],
        },
        options={
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "left",
            "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


def repeated(panel: Json, variable: str, columns: int = 2) -> Json:
    """The panel once for each value of a variable."""
    return panel | {"repeat": variable, "repeatDirection": "h", "maxPerRow": columns}


def variable(
    name: str, label: str, text: str, *, multi: bool = False, everything: bool = False, source: Json = SHORT
) -> Json:
    """A choice, filled by a query; `everything` adds "All", which is chosen first."""
    made: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": source,
        "query": text,
        "definition": text,
        "refresh": 2,
        "sort": 1,
        "multi": multi,
        "includeAll": everything,
        "hide": 0,
        "regex": "",
        "skipUrlSync": False,
        "options": [],
        "current": {"selected": True, "text": "All", "value": "$__all"} if everything else {},
    }
    if everything:
        # Short queries, however many values there are.
        made["allValue"] = ".*"
    return made
