"""InfluxDB's databases (1.8) or buckets (2): creates what is missing, and is the probe of InfluxDB's readiness.

What is there already is left as it is, also with another retention: it may hold somebody's data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import urllib3

from deploy.local.readiness import NotYet, Probe
from deploy.local.servers import InfluxVersion

# Retention in days, as the layout of the InfluxDB data in schemas/ has it.
DATABASES: Mapping[str, int] = {"telemetry": 30, "telemetry_long": 730}

# Not secrets: the server listens on loopback only, and everybody's local stack has the same.
INFLUX_ORG = "weir"
INFLUX_TOKEN = "weir-local-token"  # noqa: S105 - see above
_INFLUX_USER = "weir"
_INFLUX_PASSWORD = "weir-local"  # noqa: S105 - see above

_REQUEST_SECONDS = 10.0
_DAY_SECONDS = 86_400


def influx_probe(url: str, version: InfluxVersion) -> Probe:
    """InfluxDB answers /ping, and all of `DATABASES` are there: the probe creates them."""
    http = urllib3.PoolManager(retries=False, timeout=_REQUEST_SECONDS)

    def probe() -> None:
        try:
            ping = http.request("GET", f"{url}/ping")
            if ping.status != 204:
                raise NotYet(f"/ping answers {ping.status}")
            if version == 1:
                _create_databases(http, url)
            else:
                _create_buckets(http, url)
        except urllib3.exceptions.HTTPError as error:
            raise NotYet(str(error)) from error

    return probe


def _create_databases(http: urllib3.PoolManager, url: str) -> None:
    """Names each default retention policy `autogen`: `telemetry` and `telemetry/autogen` are the same."""
    result = _query(http, url, "SHOW DATABASES")
    present = {row[0] for row in result["results"][0]["series"][0].get("values", [])}
    for name, days in DATABASES.items():
        if name not in present:
            _query(http, url, f'CREATE DATABASE "{name}" WITH DURATION {days}d NAME "autogen"')


def _query(http: urllib3.PoolManager, url: str, statement: str) -> Any:
    response = http.request("POST", f"{url}/query", fields={"q": statement}, encode_multipart=False)
    result = response.json() if response.status == 200 else {}
    if response.status != 200 or "error" in result["results"][0]:
        raise NotYet(f"{statement}: {response.status} {response.data.decode()}")
    return result


def _create_buckets(http: urllib3.PoolManager, url: str) -> None:
    """The first bucket comes with the set-up, which works once in a server's life."""
    first, *others = DATABASES
    if _api(http, "GET", f"{url}/api/v2/setup")["allowed"]:
        setup = {
            "username": _INFLUX_USER,
            "password": _INFLUX_PASSWORD,
            "org": INFLUX_ORG,
            "bucket": first,
            "retentionPeriodSeconds": DATABASES[first] * _DAY_SECONDS,
            "token": INFLUX_TOKEN,
        }
        _api(http, "POST", f"{url}/api/v2/setup", setup)
    buckets = _api(http, "GET", f"{url}/api/v2/buckets?org={INFLUX_ORG}&limit=100")["buckets"]
    present = {bucket["name"]: bucket["orgID"] for bucket in buckets}
    for name in others:
        if name not in present:
            rule = {"type": "expire", "everySeconds": DATABASES[name] * _DAY_SECONDS}
            bucket = {"orgID": present[first], "name": name, "retentionRules": [rule]}
            _api(http, "POST", f"{url}/api/v2/buckets", bucket)


def _api(http: urllib3.PoolManager, method: str, url: str, body: object = None) -> Any:
    headers = {"Authorization": f"Token {INFLUX_TOKEN}"}
    content = None if body is None else json.dumps(body)
    response = http.request(method, url, body=content, headers=headers)
    if response.status not in (200, 201):
        raise NotYet(f"{method} {url}: {response.status} {response.data.decode()}")
    return response.json()
