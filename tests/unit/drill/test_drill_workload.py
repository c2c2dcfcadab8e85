"""What the drill's devices say, and that neither they nor the oracle know Weir's code."""

import ast
import json
import re
from pathlib import Path

import pytest

from services.alerts import rules
from tests.faults import drill
from tests.faults.drill.workload import LEVEL_LIMIT, SENSORS, Workload

FOLDER = Path(drill.__file__).parent
ALONE = (
    "account",
    "alarms_oracle",
    "device",
    "diary",
    "evidence",
    "fleet",
    "http_requests",
    "influx_reader",
    "kafka_log",
    "letters",
    "mqtt_packets",
    "oracle",
    "proxied",
    "proxy",
    "told",
    "verdict",
    "windows_oracle",
    "workload",
)


@pytest.mark.parametrize("module", ALONE)
def test_fleet_proxy_and_oracle_import_nothing_of_weir(module):
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            of_package = node.module == "tests.faults.drill"
            imported |= {f"{node.module}.{alias.name}" for alias in node.names} if of_package else {node.module or "."}
    ours = {name for name in imported if name.split(".")[0] in ("services", "schemas", "deploy", "tests", "bench")}
    assert ours <= {f"tests.faults.drill.{name}" for name in ALONE}
    assert not re.search(r"\b(__import__|importlib)\b", (FOLDER / f"{module}.py").read_text())


def test_a_message_depends_on_seed_row_device_and_number_only():
    workload = Workload(7, "calm")
    assert workload.message(3, 5, 99) == Workload(7, "calm", devices=5, copies=3).message(3, 5, 99)
    said = json.loads(workload.message(3, 5, 99))
    assert said == {"ts": 99, "seq": 5, "values": workload.values(3, 5)}
    assert tuple(sorted(said["values"])) == SENSORS
    others = [Workload(8, "calm").values(3, 5), Workload(7, "calm-2").values(3, 5), workload.values(4, 5)]
    assert all(other != said["values"] for other in others)


@pytest.mark.parametrize("sensor", SENSORS)
def test_no_two_values_of_a_device_are_alike(sensor):
    workload = Workload(7, "calm")
    assert len({workload.values(1, seq)[sensor] for seq in range(20_000)}) == 20_000


def test_the_level_is_over_its_limit_just_where_it_says():
    workload = Workload(7, "calm")
    for index in range(20):
        over = [seq for seq in range(2000) if workload.values(index, seq)["level"] > LEVEL_LIMIT]
        assert over == list(workload.high_level(index))
        assert bool(over) == (index % 5 == 1)


def test_ids_and_topics_are_those_of_the_contract():
    workload = Workload(7, "bridge-killed-while-kafka-away")
    topic = "weir/v1/drill/bridge-killed-while-kafka-away/bridge-killed-while-kafka-away-03/telemetry"
    assert workload.topic(3) == topic
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", workload.device_id(19))


def test_the_rules_of_the_drill_are_those_that_the_oracle_knows():
    loaded = rules.load(FOLDER / "rules").by_name
    assert loaded.keys() == {"level-high", "anomaly"}
    assert loaded["level-high"].when.text == f"max > {LEVEL_LIMIT}"
    assert loaded["level-high"].for_us == loaded["anomaly"].for_us == 0
    assert loaded["anomaly"].when.text == "score >= 0.5"
