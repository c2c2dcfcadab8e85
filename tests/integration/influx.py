"""An InfluxDB 1.8 of a test's own, which it may kill; and queries that use none of our code."""

import json
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from deploy.local.databases import influx_probe
from deploy.local.ports import Ports
from deploy.local.readiness import wait_ready
from deploy.local.servers import Installation, render_configuration

DEADLINE_S = 90.0


class OwnInflux:
    """One influxd with its data in a folder."""

    def __init__(self, folder: Path) -> None:
        ports = Ports.free()
        self.url = f"http://127.0.0.1:{ports.influx}"
        self._config = folder / "influxdb" / "influxdb.conf"
        self._config.parent.mkdir(parents=True)
        self._config.write_text(render_configuration(folder, ports)[self._config])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, create_databases: bool = True) -> None:
        """Start it and wait until it answers."""
        binary = Installation.find(1).influxd
        self._process = subprocess.Popen(
            [str(binary), "-config", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if create_databases:
            self.create_databases()

    def create_databases(self) -> None:
        """Create `telemetry` and `telemetry_long` where they are missing."""
        assert not wait_ready({"influxdb": influx_probe(self.url, 1)}, DEADLINE_S)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def influxql(url: str, query: str, database: str = "telemetry") -> list[dict[str, Any]]:
    """The series that a query answers with: name, tags, columns, values; times in ns."""
    body = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"}).encode()
    with urllib.request.urlopen(f"{url}/query", body, timeout=30) as response:
        [result] = json.load(response)["results"]
    assert "error" not in result, f"{query}: {result['error']}"
    return result.get("series", [])


def count(url: str, measurement: str, field: str, tenant: str, database: str = "telemetry") -> int:
    """How many points of a tenant have a field."""
    series = influxql(url, f'SELECT count("{field}") FROM "{measurement}" WHERE tenant = \'{tenant}\'', database)
    return series[0]["values"][0][1] if series else 0
