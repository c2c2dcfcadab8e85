"""InfluxDB 1.8 as the benchmark sees it: a database of one run, and how many points are in it."""

from typing import Any

import urllib3


class RunDatabase:
    """A database of its own; `close` removes it."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._url = url
        self._http = urllib3.PoolManager(retries=False, timeout=30.0)
        self.query(f'CREATE DATABASE "{name}"')

    def query(self, statement: str) -> list[list[object]]:
        """The rows of an InfluxQL statement's first series. Raises `OSError` where InfluxDB refuses it."""
        answer = self._http.request(
            "POST",
            f"{self._url}/query",
            fields={"q": statement, "db": self.name, "epoch": "ns"},
            encode_multipart=False,
        )
        result: Any = answer.json()["results"][0] if answer.status == 200 else {"error": answer.data.decode()}
        if "error" in result:
            raise OSError(f"InfluxDB: {statement}: {result['error']}")
        series = result.get("series")
        rows: list[list[object]] = series[0]["values"] if series else []
        return rows

    def count(self, measurement: str, field: str) -> int:
        """Points of a measurement that have a field."""
        rows = self.query(f'SELECT count("{field}") FROM "{measurement}"')
        return int(str(rows[0][1])) if rows else 0

    def close(self) -> None:
        """Remove it."""
        self.query(f'DROP DATABASE "{self.name}"')
