"""Every panel of every dashboard shows something of what the whole pipeline made of a replay with a fault."""

import json
import time
from typing import Any

import paho.mqtt.publish as mqtt
import pytest

from deploy.grafana.dashboards import FOLDER
from tests.e2e.system import Weir, eventually
from tests.integration.grafana import filled

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
DATABASES = {"weir-influxdb": "telemetry", "weir-influxdb-long": "telemetry_long"}
CHOSEN = {"tenant": "fault", "site": "plant-1", "device": "pump-01", "sensor": "flow"}
PAST_MS = 15 * 60_000
EMPTY_WHEN_ALL_IS_WELL = "Devices that do not add up"


@pytest.fixture(scope="module")
def shown(weir: Weir, labels: list) -> Weir:
    """The pipeline after the replay, a message that is no JSON, a value that is no number, a gap in seq, a pause."""
    host, port = weir.stack.mqtt_address
    topic = "weir/v1/fault/plant-1/pump-01/telemetry"
    broken = [{"topic": topic, "payload": p, "qos": 1} for p in (b"no json", b'{"values": {"flow": "high"}}')]
    now = time.time()
    skips = [
        {
            "topic": "weir/v1/fault/plant-1/skips-01/telemetry",
            "payload": json.dumps({"ts": now - 60 + 20 * n, "seq": seq, "values": {"flow": 1.0}}),
            "qos": 1,
        }
        for n, seq in enumerate((1, 5, 6))
    ]
    mqtt.multiple([*broken, *skips], hostname=host, port=port)
    for command in ("pause", "resume"):
        weir.command("model", command, "fault/pump-01", "--reason", "bearing changed")
    dead = "SELECT sum(stream_messages_dead_lettered_total) FROM pipeline"
    eventually(lambda: [r for r in weir.influx(dead) if r["sum"]], 60, "the dead letters are in the metrics")
    eventually(lambda: weir.influx("SELECT last(missing) FROM gaps"), 60, "the gap is stored")
    eventually(lambda: weir.influx("SELECT last(received) FROM ledger"), 60, "silent devices show their ledgers")
    events = "SELECT kind FROM model_events"
    eventually(lambda: len(weir.influx(events, "telemetry_long")) >= 2, 60, "pause and resume are stored")
    eventually(weir.sink_is_done, 60, "the sink has caught up")
    return weir


def queries() -> list[Any]:
    found = []
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                step = panel.get("interval") or "10s"
                source = target["datasource"]["uid"]
                label = f"{name}-{panel['title']}-{target['refId']}"
                found.append(pytest.param(panel["title"], target["query"], source, step, id=label))
        found += [
            pytest.param("", each["query"], each["datasource"]["uid"], "10s", id=f"{name}-annotation")
            for each in dashboard["annotations"]["list"]
        ]
    return found


@pytest.mark.parametrize(("title", "query", "source", "step"), queries())
def test_every_panel_shows_the_pipelines_results(shown: Weir, title: str, query: str, source: str, step: str):
    now_ms = round(time.time() * 1000)
    rows = shown.influx(filled(query, CHOSEN, now_ms - PAST_MS, now_ms, step), DATABASES[source])
    values = [value for row in rows for column, value in row.items() if column not in ("time", *CHOSEN)]
    if title == EMPTY_WHEN_ALL_IS_WELL:
        assert rows == []
    else:
        assert any(value is not None for value in values), query
