"""The benchmark's own Kafka, Mosquitto and InfluxDB, on free ports, in a folder that goes away with them."""

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.kafka_topics import RunTopics
from bench.processes import ROOT, cpu_of
from deploy.local.ports import Ports
from deploy.local.servers import install
from deploy.local.stack import Stack


class Servers:
    """The running servers, and a place for each run's topics and files."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.kafka = stack.kafka_bootstrap
        self.mqtt = stack.mqtt_address
        self.influx = stack.influx_url

    @contextmanager
    def run_topics(self) -> Iterator[RunTopics]:
        """Topics of one run."""
        there = RunTopics(self.kafka, f"b{uuid.uuid4().hex[:8]}.")
        try:
            yield there
        finally:
            there.close()

    def folder(self, name: str) -> Path:
        """A new empty folder."""
        made = self.stack.run_dir / "runs" / f"{name}-{uuid.uuid4().hex[:8]}"
        made.mkdir(parents=True)
        return made

    def cpu_s(self) -> Mapping[str, float]:
        """CPU seconds of each server so far."""
        return {name: cpu_of(state.pid) for name, state in self.stack.states().items()}


@contextmanager
def running() -> Iterator[Servers]:
    """Install the servers where they are missing, start them, and stop them at the end. InfluxDB is 1.8."""
    install(1)
    with tempfile.TemporaryDirectory(prefix="weir-bench") as folder:
        stack = Stack(Path(folder), Ports.free(), influx_version=1)
        stack.start(tied_to_caller=True)
        try:
            stack.wait_servers_ready(180)
            yield Servers(stack)
        finally:
            stack.stop()


def weir_environment(servers: Servers, prefix: str) -> dict[str, str]:
    """What Weir's services are told: where the servers are, the run's topics, and no fixed ports."""
    host, port = servers.mqtt
    return {
        "PYTHONPATH": str(ROOT),
        "WEIR_KAFKA__BOOTSTRAP": servers.kafka,
        "WEIR_KAFKA__TOPIC_PREFIX": prefix,
        "WEIR_KAFKA__PARTITIONS": "4",
        "WEIR_MQTT__HOST": host,
        "WEIR_MQTT__PORT": str(port),
        "WEIR_BRIDGE__HTTP_PORT": "0",
        "WEIR_STREAM__HTTP_PORT": "0",
        "WEIR_SINK__HTTP_PORT": "0",
        "WEIR_INFLUX__URL": servers.influx,
        "WEIR_LOG__LEVEL": "WARNING",
    }
