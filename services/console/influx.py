"""Asks InfluxDB over HTTP: 1.8 and 2.x alike, through /query (InfluxQL) and /api/v2/write."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import urllib3

from services.runtime.errors import Unavailable
from services.runtime.settings import InfluxSettings

STARS: Final = "**********"
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def shown_url(url: str) -> str:
    """An address without the name and password that may stand in it."""
    return _PASSWORD_IN_URL.sub(STARS, url)


class Point(msgspec.Struct, frozen=True):
    """One point: its series' tags and its fields. `time_ns` is unix ns."""

    bucket: str
    measurement: str
    time_ns: int
    tags: dict[str, str]
    fields: dict[str, Any]


class Influx:
    """InfluxDB's HTTP API, as far as a person's questions need it."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._settings = settings
        self._url = settings.url.rstrip("/")
        self._shown = shown_url(self._url)
        trusted = None if settings.ca_file is None else str(settings.ca_file)
        self._http = urllib3.PoolManager(retries=False, timeout=settings.timeout_s, ca_certs=trusted)
        token = settings.token
        self._headers = {} if token is None else {"Authorization": f"Token {token.get_secret_value()}"}

    def version(self) -> str:
        """What answers.

        Raises:
            Unavailable: Nothing does, or it is no InfluxDB.
        """
        response = self._ask("GET", "/ping")
        if response.status not in (200, 204):
            raise Unavailable(f"{self._shown}/ping answers {response.status}: is this InfluxDB?")
        return str(response.headers.get("X-Influxdb-Version", "unknown"))

    def points(self, bucket: str, query: str) -> list[Point]:
        """What an InfluxQL query over all tags (`GROUP BY *`) finds.

        Raises:
            Unavailable: InfluxDB does not answer, or refuses.
        """
        fields = {"db": bucket, "q": query, "epoch": "ns"}
        response = self._ask("GET", "/query", fields)
        if response.status != 200:
            raise Unavailable(
                f"InfluxDB at {self._shown} refused a query on {bucket} ({response.status}): {_why(response)}"
            )
        result = msgspec.json.decode(response.data)["results"][0]
        if "error" in result:
            raise Unavailable(f"InfluxDB at {self._shown} refused a query on {bucket}: {result['error']}")
        return list(_points(bucket, result.get("series", ())))

    def write_refusal(self, bucket: str) -> str | None:
        """Why InfluxDB would not take points in `bucket`; None: it would. Nothing is written: the request is empty.

        Raises:
            Unavailable: InfluxDB does not answer.
        """
        address = f"/api/v2/write?bucket={bucket}&org={self._settings.org}&precision=ns"
        response = self._ask("POST", address, body=b"\n")
        # A database that is missing, or rights that are, show before the (absent) points are looked at.
        return None if response.status in (200, 204, 400) else f"{response.status} {_why(response)}"

    def _ask(self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes | None = None) -> Any:
        try:
            return self._http.request(method, self._url + path, fields=fields, body=body, headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(
                f"InfluxDB at {self._shown} did not answer ({type(error).__name__}): start it with `weir up`, or"
                " correct WEIR_INFLUX__URL"
            ) from error


def _points(bucket: str, series: Any) -> Iterator[Point]:
    for each in series:
        tags = {name: value for name, value in each.get("tags", {}).items() if value}
        for row in each.get("values", ()):
            named = dict(zip(each["columns"], row, strict=True))
            time_ns = named.pop("time")
            yield Point(bucket, each["name"], time_ns, tags, {k: v for k, v in named.items() if v is not None})


def _why(response: Any) -> str:
    try:
        said = msgspec.json.decode(response.data)
    except msgspec.DecodeError:
        return str(response.data[:200].decode(errors="replace"))
    return str(said.get("error") or said.get("message") or said)
