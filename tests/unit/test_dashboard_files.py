"""The dashboards as files: current, complete, and about things that exist."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import services.alerts.metrics
import services.bridge.metrics
import services.sink.metrics
import services.stream.metrics
from deploy.grafana.dashboards import FOLDER, all_dashboards
from deploy.grafana.influxql import INTERVAL, chosen, latest_first, select, tag_values
from schemas import influx

DASHBOARDS = {name: json.loads(text) for name, text in all_dashboards().items()}
PROVISIONING = FOLDER.parent / "provisioning"
NATIVE_PANELS = {"timeseries", "stat", "table", "state-timeline"}
METRIC = re.compile(r'"((?:bridge|stream|sink|alerts)_[a-z_0-9]+)"')


@pytest.fixture(params=sorted(DASHBOARDS))
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return DASHBOARDS[request.param]


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [
        *(target["query"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(annotation["query"] for annotation in dashboard["annotations"]["list"]),
        *(variable["query"] for variable in dashboard["templating"]["list"]),
    ]


def reported_fields() -> set[str]:
    """What services report of themselves, as fields of measurement `pipeline`."""
    collector = services.stream.metrics.PipelineCollector(list)
    families = [*REGISTRY.collect(), *collector.collect()]
    names = set()
    for family in families:
        name = family.name.removeprefix("weir_")
        suffixes = {
            "counter": ["_total"],
            "gauge": [""],
            "summary": ["_sum", "_count"],
            "histogram": ["_sum", "_count"],
        }
        names |= {name + suffix for suffix in suffixes.get(family.type, [])}
    return names


def test_the_committed_files_are_what_the_code_makes():
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == all_dashboards(), "run `python -m deploy.grafana.dashboards` and commit the result"


def test_every_metric_that_a_panel_shows_is_reported_by_a_service():
    shown = {name for dashboard in DASHBOARDS.values() for q in queries(dashboard) for name in METRIC.findall(q)}
    assert len(shown) > 20
    assert shown <= reported_fields()


def test_every_measurement_that_a_query_reads_is_in_the_layout(dashboard: dict[str, Any]):
    layout = {value for name, value in vars(influx).items() if name.isupper() and isinstance(value, str)}
    read = {m for q in queries(dashboard) for m in re.findall(r'FROM "([^"]+)"', q)}
    assert read <= layout


def test_every_variable_that_is_used_is_defined(dashboard: dict[str, Any]):
    defined = {v["name"] for v in dashboard["templating"]["list"]}
    used = {name for q in queries(dashboard) for name in re.findall(r"\$\{(\w+):regex\}", q)}
    assert used <= defined
    known = {"timeFilter", "__interval", "__interval_ms"}
    assert {name for q in queries(dashboard) for name in re.findall(r"\$(\w+)", q)} <= known


def test_variables_narrow_only_by_those_before_them(dashboard: dict[str, Any]):
    before: set[str] = set()
    for variable in dashboard["templating"]["list"]:
        assert set(re.findall(r"\$\{(\w+):regex\}", variable["query"])) <= before
        before.add(variable["name"])


def test_every_query_reads_the_data_source_that_keeps_its_measurement(dashboard: dict[str, Any]):
    kept_long = {m for bucket, m in influx.WINDOW_MEASUREMENTS.values() if bucket == influx.BUCKET_LONG}
    kept_long |= {influx.ANOMALIES, influx.MODEL_EVENTS}
    targets = [t for p in dashboard["panels"] for t in p["targets"]] + dashboard["annotations"]["list"]
    for target in targets:
        [measurement] = set(re.findall(r'FROM "([^"]+)"', target["query"]))
        expected = "weir-influxdb-long" if measurement in kept_long else "weir-influxdb"
        assert target["datasource"] == {"type": "influxdb", "uid": expected}, target["query"]


def test_panels_fill_the_grid_without_overlap(dashboard: dict[str, Any]):
    squares = [p["gridPos"] for p in dashboard["panels"]]
    for one, other in combinations(squares, 2):
        apart = one["y"] >= other["y"] + other["h"] or other["y"] >= one["y"] + one["h"]
        beside = one["x"] >= other["x"] + other["w"] or other["x"] >= one["x"] + one["w"]
        assert apart or beside
    assert all(s["x"] + s["w"] <= 24 for s in squares)
    assert len({p["id"] for p in dashboard["panels"]}) == len(squares)


def test_every_panel_is_of_a_native_type_and_says_what_to_do(dashboard: dict[str, Any]):
    for panel in dashboard["panels"]:
        assert panel["type"] in NATIVE_PANELS
        assert len(panel["description"]) > 30, panel["title"]
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])


def test_dashboards_are_found_by_the_links_between_them():
    uids = {d["uid"] for d in DASHBOARDS.values()}
    text = json.dumps(list(DASHBOARDS.values()))
    assert set(re.findall(r"/d/([\w-]+)\?", text)) <= uids
    assert len(uids) == 3


def test_grafana_is_given_the_data_sources_that_panels_name():
    provisioned = yaml.safe_load((PROVISIONING / "datasources/weir.yaml").read_text())["datasources"]
    databases = {d["uid"]: (d["database"], d["jsonData"]["dbName"]) for d in provisioned}
    assert databases == {
        "weir-influxdb": (influx.BUCKET, influx.BUCKET),
        "weir-influxdb-long": (influx.BUCKET_LONG, influx.BUCKET_LONG),
    }
    assert [d["isDefault"] for d in provisioned if "isDefault" in d] == [True]


def test_grafana_looks_for_dashboards_where_the_container_has_them():
    [provider] = yaml.safe_load((PROVISIONING / "dashboards/weir.yaml").read_text())["providers"]
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts


def test_a_query_is_put_together_in_influxqls_order():
    assert select('max("x")', "m", ["a = 1", *chosen("t")], by=[INTERVAL, "t"], fill="none") == (
        'SELECT max("x") FROM "m" WHERE a = 1 AND "t" =~ /^${t:regex}$/ AND $timeFilter '
        'GROUP BY time($__interval), "t" fill(none)'
    )
    assert latest_first(select('"x"', "(SELECT 1)"), 5) == (
        'SELECT "x" FROM (SELECT 1) WHERE $timeFilter ORDER BY time DESC LIMIT 5'
    )
    assert tag_values("m", "k") == 'SHOW TAG VALUES FROM "m" WITH KEY = "k"'
