"""Asks services over HTTP how they are: /healthz and /readyz."""

from collections.abc import Mapping
from typing import Final

import msgspec
import urllib3

_SECONDS: Final = 3.0


class Answer(msgspec.Struct, frozen=True):
    """What a service said. `reached` False: nothing answered, and `waiting_for` says what went wrong under ""."""

    ok: bool
    waiting_for: dict[str, str] = {}
    reached: bool = True

    def text(self) -> str:
        """In words, for a person."""
        if self.ok:
            return "ready"
        return "; ".join(f"{name}: {why}" if name else why for name, why in self.waiting_for.items()) or "not ready"


class HealthProbe:
    """One connection pool for all services on this machine."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._http = urllib3.PoolManager(retries=False, timeout=_SECONDS)

    def url(self, service: str, path: str) -> str:
        """Where to ask."""
        return f"http://127.0.0.1:{self._ports[service]}{path}"

    def ask(self, service: str, path: str = "/readyz") -> Answer:
        """What the service says now."""
        url = self.url(service, path)
        try:
            response = self._http.request("GET", url)
            return msgspec.json.decode(response.data, type=Answer)
        except urllib3.exceptions.HTTPError:
            return Answer(ok=False, waiting_for={"": f"nothing answers at {url}"}, reached=False)
        except msgspec.DecodeError:
            return Answer(ok=False, waiting_for={"": f"what answers at {url} is not Weir"}, reached=False)
