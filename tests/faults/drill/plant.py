"""The plant: a stack of its own, Weir's services in it, and a proxy on each way between two of them.

What a row does to it is said in verbs: kill, hold down, freeze, thaw, cut. The services run with the settings that
they are shipped with, but for addresses, ports, rules and the log's format.
"""

import json
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deploy.local.ports import LOOPBACK, Ports
from deploy.local.programs import Program
from deploy.local.servers import KafkaListener, data_folders
from deploy.local.stack import Stack
from tests.faults.drill.disk import Disk
from tests.faults.drill.gauges import http_get
from tests.faults.drill.proxy import InfluxLink, Link
from tests.faults.drill.webhook import Webhook

ROOT: Final = Path(__file__).parents[3]
RULES: Final = Path(__file__).parent / "rules"
STREAMS: Final = ("stream-1", "stream-2")
SERVICES: Final = ("bridge", *STREAMS, "sink", "alerts")
SERVERS: Final = ("kafka", "mosquitto", "influxdb")
LINKS: Final = (
    "device-mosquitto",
    "mosquitto-bridge",
    "bridge-kafka",
    "stream-kafka",
    "sink-kafka",
    "alerts-kafka",
    "sink-influxdb",
    "alerts-webhook",
)
STOP_S: Final = 30
START_S: Final = 240.0
PARTITIONS: Final = 4
_PAGE: Final = resource.getpagesize()

_EXITED: Final = re.compile(
    r"^(?P<at>\S+ \S+?),\d+ \w+ (?P<how>exited|stopped): (?P<name>\S+) \((?P<why>[^;)]*)", re.MULTILINE
)


class Plant:
    """Servers, services and the links between them. `folder` takes all data and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.webhook = Webhook()
        self.ports = Ports.free()
        ways = _free_ports(4, taken=asdict(self.ports).values())
        upstreams = {
            "device-mosquitto": (LOOPBACK, self.ports.mqtt),
            "mosquitto-bridge": (LOOPBACK, self.ports.mqtt),
            "alerts-webhook": self.webhook.address,
        }
        self.links = {name: Link(name, upstream) for name, upstream in upstreams.items()}
        listeners = []
        for client, port in zip(("bridge", "stream", "sink", "alerts"), ways, strict=True):
            link = self.links[f"{client}-kafka"] = Link(f"{client}-kafka", (LOOPBACK, port))
            listeners.append(KafkaListener(client.upper(), port, link.port))
        self.influx = InfluxLink("sink-influxdb", (LOOPBACK, self.ports.influx))
        self.links["sink-influxdb"] = self.influx
        self.stack = Stack(folder / "run", self.ports, influx_version=1, kafka_listeners=listeners)
        http = iter(_free_ports(len(SERVICES), taken=[*asdict(self.ports).values(), *ways]))
        self.http_ports = {name: next(http) for name in SERVICES}
        self.disk = Disk(data_folders(self.stack.run_dir, 1)["influxdb"])

    @property
    def mqtt_for_devices(self) -> tuple[str, int]:
        """Where devices connect: through their link."""
        return LOOPBACK, self.links["device-mosquitto"].port

    def start(self) -> None:
        """Start servers, then services; returns when all of them are ready."""
        self.disk.mount()
        self.stack.start(tied_to_caller=True)
        self.stack.wait_servers_ready(START_S)
        self.stack.add_programs([self._program(name) for name in SERVICES])
        self.wait_ready()

    def stop(self) -> None:
        """End all of it; returns when no process is left."""
        self.stack.stop()
        for link in self.links.values():
            link.close()
        self.webhook.close()
        self.disk.unmount()

    def wait_ready(self, services: Iterable[str] = SERVICES, within_s: float = START_S) -> None:
        """Wait until the services say that they are ready."""
        for name in services:
            until(lambda name=name: http_get(self.http_ports[name], "/readyz"), within_s, f"{name} is ready")

    # ------------------------------------------------------------------------------------------------------ faults

    def kill(self, *names: str) -> None:
        """SIGKILL; the supervisor starts them again at once."""
        pids = [(name, self.stack.pid(name)) for name in names]
        for name, pid in pids:
            if pid:
                self.stack.signal(name, signal.SIGKILL)

    def hold_down(self, *names: str) -> None:
        """SIGKILL, and stay down until `raise_up`."""
        self.kill(*names)
        for name in names:
            # Whatever the supervisor has started meanwhile is stopped before it has done anything.
            self.stack.stop_program(name)

    def raise_up(self, *names: str) -> None:
        """Start again what was held down; servers answer when this returns."""
        for name in names:
            self.stack.start_program(name)
        if set(names) & set(SERVERS):
            self.stack.wait_servers_ready(START_S)

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self.stack.signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self.stack.signal(name, signal.SIGCONT)

    def join_worker(self, name: str) -> None:
        """One more stream worker."""
        if name not in self.http_ports:
            self.http_ports[name] = _free_ports(1, taken=self.http_ports.values())[0]
            self.stack.add_programs([self._program(name)])
        else:
            self.stack.start_program(name)

    def leave_worker(self, name: str) -> None:
        """SIGTERM to a stream worker, which stays away."""
        self.stack.stop_program(name)

    def terminate(self, names: Iterable[str]) -> dict[str, tuple[float, str]]:
        """SIGTERM in this order, a moment apart; name -> seconds until it had ended, and how, as the supervisor says.

        They stay down until `raise_up`.
        """
        began: dict[str, float] = {}
        stopped_at = datetime.now()
        for name in names:
            began[name] = time.monotonic()
            threading.Thread(target=self.stack.stop_program, args=(name,), daemon=True).start()
            time.sleep(0.2)
        ended: dict[str, float] = {}

        def all_ended() -> bool:
            states = self.stack.states()
            for name in began.keys() - ended.keys():
                if states[name].pid == 0:
                    ended[name] = time.monotonic() - began[name]
            return len(ended) == len(began)

        until(all_ended, 60, "everything has ended")
        said = {name: why for at, name, why in self.endings() if at >= stopped_at.replace(microsecond=0)}
        return {name: (ended[name], said.get(name, "nothing said")) for name in began}

    def recover(self) -> None:
        """Undo whatever a row has left behind: links healed, frozen ones thawed, everything up."""
        for link in self.links.values():
            link.up()
            link.heal()
        self.influx.pass_all()
        states = self.stack.states()
        for name in (*SERVERS, *SERVICES):
            if states[name].pid:
                self.stack.signal(name, signal.SIGCONT)
            else:
                self.stack.start_program(name)
        self.disk.free()
        self.stack.wait_servers_ready(START_S)

    # --------------------------------------------------------------------------------------------------- what it says

    def endings(self) -> list[tuple[datetime, str, str]]:
        """When each program ended, in order, and how: `exit status 0`, `terminated by SIGKILL`."""
        text = (self.stack.run_dir / "logs" / "supervisord.log").read_text()
        return [(datetime.strptime(m["at"], "%Y-%m-%d %H:%M:%S"), m["name"], m["why"]) for m in _EXITED.finditer(text)]

    def said(self, service: str) -> list[dict[str, Any]]:
        """What a service has logged so far."""
        lines = self.stack.log_path(service).read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def owners(self) -> dict[int, str]:
        """Partition -> the stream worker that was assigned it last, as the workers' logs say."""
        found = sorted((at, partition, worker) for at, partition, worker in self.assignments())
        return {partition: worker for _, partition, worker in found}

    def assignments(self) -> list[tuple[str, int, str]]:
        """When (ISO 8601), which partition, to which stream worker, for each time."""
        workers = [name for name in self.http_ports if name.startswith("stream")]
        return [
            (line["timestamp"], line["partition"], worker)
            for worker in workers
            for line in self.said(worker)
            if line["event"] == "partition_assigned"
        ]

    def resident_bytes(self) -> dict[str, int]:
        """Memory of each program's process now."""
        found = {}
        for name, state in self.stack.states().items():
            try:
                found[name] = int(Path(f"/proc/{state.pid}/statm").read_text().split()[1]) * _PAGE
            except OSError:
                continue
        return found

    def _program(self, name: str) -> Program:
        service = name.partition("-")[0]
        environment = {
            "PYTHONPATH": str(ROOT),
            "WEIR_KAFKA__BOOTSTRAP": f"{LOOPBACK}:{self.links[f'{service}-kafka'].port}",
            "WEIR_KAFKA__PARTITIONS": str(PARTITIONS),
            "WEIR_LOG__FORMAT": "json",
            f"WEIR_{service.upper()}__HTTP_PORT": str(self.http_ports[name]),
        }
        environment |= {
            "bridge": {"WEIR_MQTT__PORT": str(self.links["mosquitto-bridge"].port)},
            "stream": {"WEIR_STREAM__DATA_DIR": str(self.folder / "faust" / name)},
            "sink": {"WEIR_INFLUX__URL": f"http://{LOOPBACK}:{self.links['sink-influxdb'].port}"},
            "alerts": {
                "WEIR_ALERTS__RULES_DIR": str(RULES),
                "WEIR_ALERTS__WEBHOOK_URL": f"http://{LOOPBACK}:{self.links['alerts-webhook'].port}/alarms",
            },
        }[service]
        return Program(name, (sys.executable, "-m", "services.cli", service), environment, stop_seconds=STOP_S)


def _free_ports(count: int, *, taken: Iterable[int]) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < count:
        found = asdict(Ports.free()).values()
        chosen += [port for port in found if port not in taken and port not in chosen]
    return chosen[:count]


class Timeout(Exception):
    """Something did not happen in time."""


def until(true: Any, within_s: float, what: str) -> Any:
    """The first true answer; raises `Timeout` where there is none in time."""
    end = time.monotonic() + within_s
    while not (answer := true()):
        if time.monotonic() > end:
            raise Timeout(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.1)
    return answer
