"""What InfluxDB holds of a row, by InfluxQL over HTTP: InfluxDB 1.8 and 2.x alike."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

from tests.faults.drill.evidence import AnomalyPoint, Evidence, ScorePoint
from tests.faults.drill.workload import TENANT

SECOND_US: Final = 1_000_000
WINDOWS: Final = {
    10 * SECOND_US: ("telemetry", "aggregates_10s"),
    60 * SECOND_US: ("telemetry_long", "aggregates_1m"),
    300 * SECOND_US: ("telemetry_long", "aggregates_5m"),
}
"""Width of a window in µs -> database, measurement."""

Series = tuple[dict[str, str], list[str], list[list[Any]]]
"""Tags, columns, rows; times in ns."""


class InfluxReader:
    """Reads Weir's databases."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url` without a slash at its end; `token` for InfluxDB 2."""
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Token {token}"}

    def fill(self, evidence: Evidence, site: str) -> None:
        """Put what stands there of the drill's devices at this site into the evidence. Raises `OSError`."""
        for tags, _, rows in self._series("telemetry", "SELECT value FROM readings", site, "device, sensor"):
            evidence.readings[tags["device"], tags["sensor"]] = [(at, value) for at, value in rows]
        for width_us, (database, measurement) in WINDOWS.items():
            for tags, columns, rows in self._series(database, f"SELECT * FROM {measurement}", site, "device, sensor"):
                for row in rows:
                    fields = dict(zip(columns, row, strict=True))
                    key = (tags["device"], tags["sensor"], width_us, fields.pop("time") // 1000)
                    evidence.windows[key] = fields
        chosen = "SELECT open, peak, severity FROM anomalies"
        for tags, _, rows in self._series("telemetry_long", chosen, site, "device"):
            for at_ns, *fields in rows:
                evidence.anomaly_points[tags["device"], at_ns // 1000] = AnomalyPoint(*fields)
        chosen = "SELECT score, alarm_score FROM scores"
        for tags, _, rows in self._series("telemetry", chosen, site, "device", "AND sensor = ''"):
            evidence.score_points[tags["device"]] = {at: ScorePoint(*scores) for at, *scores in rows}

    def _series(self, database: str, select: str, site: str, group: str, also: str = "") -> Iterator[Series]:
        query = f"{select} WHERE tenant = '{TENANT}' AND site = '{site}' {also} GROUP BY {group}"
        asked = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"})
        request = urllib.request.Request(f"{self._url}/query?{asked}", headers=self._headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            result = json.load(answer)["results"][0]
        if "error" in result:
            raise OSError(f"InfluxDB refuses {query}: {result['error']}")
        for series in result.get("series", ()):
            yield series["tags"], series["columns"], series["values"]
