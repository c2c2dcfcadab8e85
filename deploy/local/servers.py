"""The three servers: where install.sh puts them, their configuration files, and the programs that run them.

Rendering is pure: ports and folders in, text out. Each server keeps its data in `<run folder>/data/...` and finds its
configuration in `<run folder>/<server>`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from deploy.local.errors import InstallFailed, NotInstalled, StackError
from deploy.local.ports import LOOPBACK, Ports
from deploy.local.programs import SERVER_PRIORITY, Program

InfluxVersion = Literal[1, 2]

SERVERS = frozenset({"kafka", "mosquitto", "influxdb"})

KAFKA_VERSION = "4.1.2"
INFLUX_VERSIONS: Mapping[InfluxVersion, str] = {1: "1.8.10", 2: "2.7.12"}

# Java finds no file with letters that the locale's encoding lacks, and in the locale "C" that is all but ASCII.
_JAVA_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}

_HERE = Path(__file__).parent


def chosen_influx_version(environment: Mapping[str, str] = os.environ) -> InfluxVersion:
    """What LOCAL_INFLUX says: 1 where it says nothing. Raises `StackError` on anything else than 1 or 2."""
    match environment.get("LOCAL_INFLUX", ""):
        case "" | "1":
            return 1
        case "2":
            return 2
        case other:
            raise StackError(f"LOCAL_INFLUX={other!r}: set it to 1 (InfluxDB 1.8) or 2 (2.7), or leave it unset")


def install(influx_version: InfluxVersion = 1) -> None:
    """Runs install.sh, which prints what it does: a moment when all is there, a minute or two the first time.

    Raises `InstallFailed`.
    """
    environment = {**os.environ, "LOCAL_INFLUX": str(influx_version)}
    result = subprocess.run([str(_HERE / "install.sh")], env=environment, check=False)
    if result.returncode != 0:
        raise InstallFailed(result.returncode)


@dataclass(frozen=True)
class Installation:
    """The servers' programs on this machine."""

    java: str
    kafka_libs: Path
    mosquitto: str
    influxd: Path

    @classmethod
    def find(cls, influx_version: InfluxVersion) -> Installation:
        """Raises `NotInstalled`, naming the first server that is missing."""
        cache = _cache_dir()
        kafka_libs = cache / f"kafka-{KAFKA_VERSION}" / "libs"
        if not kafka_libs.is_dir():
            raise NotInstalled("Kafka", str(kafka_libs))
        influxd = cache / f"influxdb-{INFLUX_VERSIONS[influx_version]}" / "influxd"
        if not influxd.is_file():
            raise NotInstalled(f"InfluxDB {influx_version}", str(influxd))
        # Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
        mosquitto = shutil.which("mosquitto", path=path)
        if mosquitto is None:
            raise NotInstalled("Mosquitto", "not on PATH, nor in /usr/sbin")
        java = shutil.which("java")
        if java is None:
            raise NotInstalled("Java", "not on PATH")
        return cls(java, kafka_libs, mosquitto, influxd)


def _cache_dir() -> Path:
    """Where install.sh puts what it fetches."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("LOCAL_CACHE") or Path(cache_home) / "weir")


def data_folders(run_dir: Path, influx_version: InfluxVersion) -> dict[str, Path]:
    """Where each server keeps what must outlive it. The two InfluxDBs can't read each other's."""
    data = run_dir / "data"
    return {
        "kafka": data / "kafka",
        "mosquitto": data / "mosquitto",
        "influxdb": data / f"influxdb-{INFLUX_VERSIONS[influx_version]}",
    }


@dataclass(frozen=True)
class KafkaListener:
    """One more way into Kafka, besides the usual port: who comes by it is sent on to `advertised_port`.

    So that a proxy can stand between Kafka and one client: both ports are on loopback. `name` in capitals and digits.
    """

    name: str
    port: int
    advertised_port: int


def render_configuration(run_dir: Path, ports: Ports, kafka_listeners: Sequence[KafkaListener] = ()) -> dict[Path, str]:
    """Every server's configuration file, by path. InfluxDB 2 has none: it takes options."""
    data = data_folders(run_dir, 1)
    return {
        run_dir / "kafka" / "server.properties": _template(
            "kafka/server.properties",
            port=ports.kafka,
            controller_port=ports.kafka_controller,
            more_listeners="".join(f",{one.name}://{LOOPBACK}:{one.port}" for one in kafka_listeners),
            more_advertised="".join(f",{one.name}://{LOOPBACK}:{one.advertised_port}" for one in kafka_listeners),
            more_protocols="".join(f",{one.name}:PLAINTEXT" for one in kafka_listeners),
            # Java reads these files as Latin-1; JSON's escapes are Java's too.
            data=json.dumps(str(data["kafka"]))[1:-1],
        ),
        run_dir / "kafka" / "log4j2.properties": _template("kafka/log4j2.properties"),
        run_dir / "mosquitto" / "mosquitto.conf": _template(
            "mosquitto/mosquitto.conf", port=ports.mqtt, data=data["mosquitto"]
        ),
        run_dir / "influxdb" / "influxdb.conf": _template(
            "influxdb/influxdb.conf", port=ports.influx, data=data["influxdb"]
        ),
    }


def server_programs(
    installation: Installation, run_dir: Path, ports: Ports, influx_version: InfluxVersion
) -> tuple[Program, ...]:
    """The three servers as programs."""
    kafka = Program(
        name="kafka",
        command=(
            installation.java,
            "-Xmx768m",
            "-XX:+ExitOnOutOfMemoryError",
            f"-XX:ErrorFile={run_dir}/logs/kafka-crash-%p.log",
            f"-Dlog4j2.configurationFile={run_dir / 'kafka' / 'log4j2.properties'}",
            "-cp",
            f"{installation.kafka_libs}/*",
            "kafka.Kafka",
            str(run_dir / "kafka" / "server.properties"),
        ),
        environment=_JAVA_ENVIRONMENT,
        stop_seconds=30,
        priority=SERVER_PRIORITY,
    )
    mosquitto = Program(
        name="mosquitto",
        command=(installation.mosquitto, "-c", str(run_dir / "mosquitto" / "mosquitto.conf")),
        environment={},
        priority=SERVER_PRIORITY,
    )
    return kafka, mosquitto, _influxdb(installation, run_dir, ports, influx_version)


def _influxdb(installation: Installation, run_dir: Path, ports: Ports, influx_version: InfluxVersion) -> Program:
    data = data_folders(run_dir, influx_version)["influxdb"]
    configuration = run_dir / "influxdb" / "influxdb.conf"
    arguments: tuple[str, ...] = ("-config", str(configuration))
    if influx_version == 2:
        arguments = (
            "run",
            f"--http-bind-address={LOOPBACK}:{ports.influx}",
            f"--bolt-path={data}/influxd.bolt",
            f"--sqlite-path={data}/influxd.sqlite",
            f"--engine-path={data}/engine",
            "--reporting-disabled",
            "--log-level=warn",
        )
    return Program(
        name="influxdb",
        command=(str(installation.influxd), *arguments),
        environment={},
        stop_seconds=20,
        priority=SERVER_PRIORITY,
    )


def format_kafka(installation: Installation, run_dir: Path) -> None:
    """Gives Kafka's data folder its cluster id, once; Kafka refuses to start without. Raises `StackError`."""
    data = data_folders(run_dir, 1)["kafka"]
    if (data / "meta.properties").exists():
        return
    command = [
        installation.java,
        f"-Dlog4j2.configurationFile={run_dir / 'kafka' / 'log4j2.properties'}",
        "-cp",
        f"{installation.kafka_libs}/*",
        "kafka.tools.StorageTool",
        "format",
        "-t",
        _new_cluster_id(),
        "-c",
        str(run_dir / "kafka" / "server.properties"),
    ]
    result = subprocess.run(
        command, env={**os.environ, **_JAVA_ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise StackError(f"Kafka can't format {data}: {output}")


def _new_cluster_id() -> str:
    """A random id in Kafka's own notation: 16 bytes, base64. None begins with a dash: it would read as an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def _template(name: str, **values: object) -> str:
    return Template((_HERE / name).read_text(encoding="utf-8")).substitute(
        {key: str(value) for key, value in values.items()}
    )
