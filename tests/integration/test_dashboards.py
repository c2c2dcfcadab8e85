"""Every panel, annotation and variable of the committed dashboards shows something, on a real InfluxDB.

The results come through the real Kafka and the real sink. To show the whole pipeline's results instead, give the
fixture `results` another source: it says where they are, whose, and when.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from dashboard_results import DEVICES, SENSORS, SITE, STEP_US, STEPS, Results, records
from grafana import ALL, filled
from influx import OwnInflux, count, influxql
from sink_process import SinkProcess, eventually, produce

from deploy.grafana.dashboards import FOLDER
from deploy.local.ports import Ports
from deploy.local.servers import InfluxVersion
from schemas import influx
from services.runtime.kafka import ensure_topics
from services.runtime.settings import KafkaSettings

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
DATABASES = {"weir-influxdb": influx.BUCKET, "weir-influxdb-long": influx.BUCKET_LONG}
STEP = "10s"
"""Grafana's step where a panel asks for no longer one: as for some 10 minutes on a small screen."""


@pytest.fixture(scope="module")
def results(kafka: str, influx_version: InfluxVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    folder = tmp_path_factory.mktemp("dashboards")
    own = OwnInflux(folder / "influx", influx_version)
    own.start()
    prefix, tenant, end_us = f"dashboards-{time.time_ns()}.", "a-plant", time.time_ns() // 1000
    ensure_topics(KafkaSettings(bootstrap=kafka, topic_prefix=prefix))
    by_topic: dict[str, list[object]] = defaultdict(list)
    for topic, record in records(tenant, end_us):
        by_topic[topic].append(record)
    for topic, of_topic in by_topic.items():
        produce(kafka, prefix, topic, of_topic)
    sink = SinkProcess(kafka, own, prefix, Ports.free().influx, folder / "sink.log").start()
    try:
        wanted = len(DEVICES) * len(SENSORS) * STEPS
        eventually("all readings are stored", lambda: count(own.url, "readings", "value", tenant) == wanted)
        eventually("all is stored", lambda: sink.metric(f'weir_sink_lag_messages{{topic="{prefix}') == 0)
        eventually("ledgers are stored", lambda: count(own.url, "ledger", "received", tenant) == 3 * len(DEVICES))
        eventually("gaps are stored", lambda: count(own.url, "gaps", "first_seq", tenant) == 4)
        eventually("anomalies are stored", lambda: count(own.url, "anomalies", "peak", tenant, "telemetry_long") == 2)
        from_us = end_us - (STEPS + 60) * STEP_US
        yield Results(own.url, tenant, SITE, DEVICES[1], SENSORS, from_us, end_us)
    finally:
        sink.kill()
        own.kill()


def choices(results: Results) -> list[dict[str, object]]:
    """What a person may have chosen: one of each, and all."""
    one = {"tenant": results.tenant, "site": results.site, "device": results.device, "sensor": results.sensors[1]}
    return [one, one | {"tenant": ALL, "site": ALL, "sensor": ALL}, one | {"sensor": results.sensors}]


def answer(results: Results, query: str, uid: str, chosen: dict[str, object], step: str) -> list[dict[str, Any]]:
    text = filled(query, chosen, results.from_us // 1000, results.to_us // 1000, step)
    return influxql(results.url, text, DATABASES[uid])


def shown(series: list[dict[str, Any]]) -> int:
    """How many values there are that are not empty."""
    return sum(
        value is not None
        for each in series
        for row in each["values"]
        for column, value in zip(each["columns"], row, strict=True)
        if column != "time"
    )


def panels() -> Iterator[Any]:
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield pytest.param(panel, target, id=f"{name}-{panel['title']}-{target['refId']}")


def test_there_are_dashboards():
    assert len(DASHBOARDS) == 3


@pytest.mark.parametrize(("panel", "target"), list(panels()))
def test_every_panel_shows_something(results: Results, panel: dict[str, Any], target: dict[str, Any]):
    step = panel.get("interval") or STEP
    for chosen in choices(results):
        series = answer(results, target["query"], target["datasource"]["uid"], chosen, step)
        assert shown(series), f"nothing for {chosen}: {target['query']}"


@pytest.mark.parametrize("panel", [p for d in DASHBOARDS.values() for p in d["panels"]], ids=lambda p: p["title"])
def test_the_columns_and_aliases_that_a_panel_names_are_there(results: Results, panel: dict[str, Any]):
    chosen, step = choices(results)[0], panel.get("interval") or STEP
    names: set[str] = set()
    for target in panel["targets"]:
        for series in answer(results, target["query"], target["datasource"]["uid"], chosen, step):
            tags = series.get("tags", {})
            if target["resultFormat"] == "table":
                names |= {"Time", *tags, *series["columns"]}
            else:
                alias = target["alias"]
                for tag, value in tags.items():
                    alias = alias.replace(f"$tag_{tag}", value)
                assert alias, f"a line without a name: {target['query']}"
                assert "$tag_" not in alias, f"no such tag: {alias}"
                names.add(alias)
    for change in panel.get("transformations", []):
        options = change["options"]
        if change["id"] == "filterFieldsByName":
            assert set(options["include"]["names"]) <= names
        elif change["id"] == "organize":
            names |= set(options["renameByName"].values())
        elif change["id"] == "calculateField":
            left = [options["binary"]["left"], options["binary"]["right"]] if "binary" in options else []
            assert {*left, *options.get("reduce", {}).get("include", [])} <= names
            names.add(options["alias"])
        elif change["id"] == "sortBy":
            assert {field["field"] for field in options["sort"]} <= names
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["id"] == "byName":
            assert override["matcher"]["options"] in names


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_offers_what_is_there(results: Results, name: str):
    for variable in DASHBOARDS[name]["templating"]["list"]:
        offered = {
            row[1]
            for series in answer(results, variable["query"], variable["datasource"]["uid"], choices(results)[0], STEP)
            for row in series["values"]
        }
        expected = {"tenant": {results.tenant}, "site": {results.site}}.get(variable["name"])
        if expected is not None:
            assert offered == expected
        else:
            assert {"device": set(DEVICES), "sensor": set(SENSORS)}[variable["name"]] == offered


def test_anomalies_are_regions_on_the_devices_graphs(results: Results):
    annotation, _ = DASHBOARDS["weir-device"]["annotations"]["list"]
    [series] = answer(results, annotation["query"], annotation["datasource"]["uid"], choices(results)[0], STEP)
    events = [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
    assert [event[annotation["textColumn"]] for event in events] == ["temperature is 32.0, expected 18.0 to 22.0"] * 2
    assert [[event[tag] for tag in annotation["tagsColumn"].split(",")] for event in events] == [
        ["critical", "temperature"]
    ] * 2
    over, still_open = (event[annotation["timeEndColumn"]] for event in events)
    assert over - events[0]["time"] / 1e6 == 30 * STEP_US / 1000, "milliseconds, as Grafana reads them"
    assert still_open is None
    assert all(annotation["target"][key] == value for key, value in annotation.items() if key.endswith("Column"))


def test_what_happened_to_models_is_marked_on_the_devices_graphs(results: Results):
    _, annotation = DASHBOARDS["weir-device"]["annotations"]["list"]
    [series] = answer(results, annotation["query"], annotation["datasource"]["uid"], choices(results)[0], STEP)
    events = [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
    told = {(*(event[tag] for tag in annotation["tagsColumn"].split(",")), event["sentence"]) for event in events}
    assert told == {
        ("paused", None, "paused of all"),
        ("drift", "watch", f"drift of {SENSORS[0]}"),
        ("drift", "re_baseline", f"drift of {SENSORS[1]}"),
    }


def single(results: Results, title: str) -> list[float]:
    """The numbers that a panel's queries answer with, when nothing is narrowed down."""
    stats = [p for d in DASHBOARDS.values() for p in d["panels"] if p["type"] == "stat"]
    [panel] = [p for p in stats if p["title"] == title]
    everything, step = choices(results)[1], panel.get("interval") or STEP
    values: list[float] = []
    for target in panel["targets"]:
        for series in answer(results, target["query"], target["datasource"]["uid"], everything, step):
            values += [value for value in series["values"][-1][1:] if value is not None]
    return values


def test_numbers_are_those_of_the_results(results: Results):
    assert single(results, "Devices") == [len(DEVICES)]
    assert single(results, "Open anomalies") == [1]
    messages, readings, lines = single(results, "Dead letters")
    assert messages == readings == STEPS * 2 - 10
    assert lines == 5


def test_alarms_of_the_week_are_counted_by_device_whatever_the_time_range(results: Results):
    later = results._replace(from_us=results.to_us - 1)
    counted = {}
    for name in ("weir-fleet", "weir-device"):
        [panel] = [p for p in DASHBOARDS[name]["panels"] if p["title"] == "Alarms in 7 days"]
        [target] = panel["targets"]
        for series in answer(later, target["query"], target["datasource"]["uid"], choices(later)[0], STEP):
            counted[name, series.get("tags", {}).get("device")] = series["values"][-1][1]
    assert counted == {("weir-fleet", DEVICES[1]): 2, ("weir-device", None): 2}


def test_readings_are_counted_per_second(results: Results):
    [panel] = [p for p in DASHBOARDS["weir-fleet"]["panels"] if p["title"] == "Readings"]
    [target] = panel["targets"]
    [series] = answer(results, target["query"], target["datasource"]["uid"], choices(results)[0], panel["interval"])
    rates = [value for _, value in series["values"] if value is not None]
    whole_steps = rates[1:-1]
    assert whole_steps
    assert set(whole_steps) == {len(DEVICES) * len(SENSORS) * 1_000_000 / STEP_US}


@pytest.mark.parametrize("title", ["Ledger of messages", "Ledger of readings"])
def test_the_ledgers_add_up(results: Results, title: str):
    received, *accounted = single(results, title)
    second = STEPS * 2 - 5
    assert received == {"Ledger of messages": 30 * second, "Ledger of readings": 58 * second}[title], "of both workers"
    assert received == sum(accounted)


def rows(results: Results, title: str) -> list[dict[str, Any]]:
    """What a table of the pipeline shows, tags and columns."""
    [panel] = [p for p in DASHBOARDS["weir-pipeline"]["panels"] if p["title"] == title]
    [target] = panel["targets"]
    return [
        {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
        for series in answer(results, target["query"], target["datasource"]["uid"], choices(results)[1], STEP)
        for row in series["values"]
    ]


def test_a_device_that_does_not_add_up_is_named_and_no_other(results: Results):
    [row] = rows(results, "Devices that do not add up")
    assert (row["device"], row["messages"], row["readings"], row["received"]) == (DEVICES[1], 2, 0, 300)


def test_dead_letters_are_counted_by_device(results: Results):
    counted = {
        row["device"]: (row["new"], row["messages"]) for row in rows(results, "Devices with the most dead letters")
    }
    assert counted == {DEVICES[0]: (0, 0), DEVICES[1]: (2, 12), DEVICES[2]: (2, 2)}


def test_a_range_that_was_filled_in_part_is_missing_in_part(results: Results):
    shown_gaps = rows(results, "Gaps")
    assert sorted((row["missing"], row["leapt"]) for row in shown_gaps if row["missing"]) == [
        (-20, None), (15, None), (20, None),
    ]  # fmt: skip
    assert [row["leapt"] for row in shown_gaps if row["leapt"]] == [2_999_001]
    assert sum(row["missing"] or 0 for row in shown_gaps) == 15
