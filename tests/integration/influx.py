"""An InfluxDB of a test's own, which it may kill; and queries that use none of our code."""

import json
import os
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from deploy.local.databases import INFLUX_ORG, INFLUX_TOKEN, influx_probe
from deploy.local.ports import Ports
from deploy.local.readiness import wait_ready
from deploy.local.servers import InfluxVersion, Installation, render_configuration, server_programs

DEADLINE_S = 90.0


class OwnInflux:
    """One influxd, 1.8 or 2, with its data in a folder."""

    def __init__(self, folder: Path, version: InfluxVersion) -> None:
        ports = Ports.free()
        self.url = f"http://127.0.0.1:{ports.influx}"
        self.version = version
        self.settings: dict[str, str] = {"WEIR_INFLUX__URL": self.url}
        """What a service must be told."""
        if version == 2:
            self.settings |= {"WEIR_INFLUX__TOKEN": INFLUX_TOKEN, "WEIR_INFLUX__ORG": INFLUX_ORG}
        for path, content in render_configuration(folder, ports).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (folder / "data" / "influxdb").mkdir(parents=True)
        self._program = server_programs(Installation.find(version), folder, ports, version)[-1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, create_databases: bool = True) -> None:
        """Start it; wait until it answers where databases are to be created."""
        self._process = subprocess.Popen(
            self._program.command,
            env={**os.environ, **self._program.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if create_databases:
            self.create_databases()

    def create_databases(self) -> None:
        """Create `telemetry` and `telemetry_long` where they are missing."""
        assert not wait_ready({"influxdb": influx_probe(self.url, self.version)}, DEADLINE_S)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def influxql(url: str, query: str, database: str = "telemetry") -> list[dict[str, Any]]:
    """The series that a query answers with: name, tags, columns, values; times in ns."""
    body = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"}).encode()
    # InfluxDB 1.8 without authentication takes any token.
    request = urllib.request.Request(f"{url}/query", body, {"Authorization": f"Token {INFLUX_TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        [result] = json.load(response)["results"]
    assert "error" not in result, f"{query}: {result['error']}"
    return result.get("series", [])


def count(url: str, measurement: str, field: str, tenant: str, database: str = "telemetry") -> int:
    """How many points of a tenant have a field."""
    series = influxql(url, f'SELECT count("{field}") FROM "{measurement}" WHERE tenant = \'{tenant}\'', database)
    return series[0]["values"][0][1] if series else 0
