"""Weir as a whole: the real servers and all services under the supervisor, on ports of their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.ports import Ports
from deploy.local.programs import Program
from deploy.local.servers import InfluxVersion
from deploy.local.stack import Stack
from services.runtime.settings import MqttSettings
from services.simulator.options import ReplayOptions
from services.simulator.service import replay
from tests.e2e.system import DURATION_S, FAULT_AT_S, FAULT_S, SERVICES, Webhook, Weir, eventually

START_S = 240.0
DEVICE_TYPES = """
types: {narrow: {sensors: {flow: {high: 100.0}}}}
assign: [{pattern: "audit/*", type: narrow}]
"""
"""For one tenant only, whose test corrects it."""


@pytest.fixture(scope="session")
def weir(influx_version: InfluxVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    """The whole system, ready."""
    folder = tmp_path_factory.mktemp("weir")
    webhook = Webhook()
    device_types = folder / "device_types.yaml"
    device_types.write_text(DEVICE_TYPES)
    spare = Ports.free()
    http_ports = dict(zip(SERVICES, (spare.mqtt, spare.kafka, spare.kafka_controller, spare.influx), strict=True))
    environment = {f"WEIR_{service.upper()}__HTTP_PORT": str(port) for service, port in http_ports.items()} | {
        "WEIR_STREAM__CHECKPOINT_S": "2",
        "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
        "WEIR_STREAM__DEVICE_TYPES_FILE": str(device_types),
        "WEIR_ALERTS__WEBHOOK_URL": webhook.url,
        "WEIR_ALERTS__RULES_DIR": str(Path(__file__).parent / "rules"),
    }
    programs = [
        Program(name, (sys.executable, "-m", "services.cli", name), environment, stop_seconds=25) for name in SERVICES
    ]
    stack = Stack(folder / "run", Ports.free(), influx_version=influx_version)
    running = Weir(stack, webhook, http_ports, device_types)
    stack.start(tied_to_caller=True)
    try:
        stack.wait_servers_ready(START_S)
        stack.add_programs(programs)
        eventually(running.all_ready, START_S, "all services are ready")
        yield running
    finally:
        stack.stop()
        webhook.close()


@pytest.fixture(scope="session")
def labels(weir, tmp_path_factory):
    """A replay with a 10 sigma step on one sensor of one device; returns what the simulator says it did."""
    host, port = weir.stack.mqtt_address
    options = ReplayOptions(
        devices=3,
        tenant="fault",
        rate=1.0,
        history=600,
        duration_s=DURATION_S,
        faults=(f"step@pump-01:flow:{FAULT_AT_S}+{FAULT_S}:10",),
        labels_file=tmp_path_factory.mktemp("labels") / "labels.jsonl",
    )
    summary = replay(options, MqttSettings(host=host, port=port), lambda: False)
    assert summary.faults == 1
    return [label for label in summary.labels if label.kind == "step"]
