"""Health as "work moves", not "connected"; and the HTTP endpoint that shows it.

`/healthz`: 200 while each watched loop has ticked within its limit. `/readyz`: 200 when every dependency has answered.
`/metrics`: Prometheus text.
"""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.logging import Outage

ASK_AGAIN_S: Final = 1.0
"""How soon a question that was not answered is asked again."""


class Health:
    """What a service knows of itself. Written by its loops, read by anyone; each write is one assignment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ticks: dict[str, float] = {}
        self._limits_s: dict[str, float] = {}
        self._waiting: dict[str, str] = {}

    def watch(self, loop: str, limit_s: float) -> None:
        """Expect `tick(loop)` at least every `limit_s` seconds from now on."""
        self._limits_s[loop] = limit_s
        self._ticks[loop] = self._clock()

    def tick(self, loop: str) -> None:
        """The loop made a turn."""
        self._ticks[loop] = self._clock()

    def wait_for(self, dependency: str, why: str) -> None:
        """The service is not ready: it waits for `dependency`."""
        self._waiting[dependency] = why

    def has(self, dependency: str) -> None:
        """`dependency` answered."""
        self._waiting.pop(dependency, None)

    def waiting(self) -> dict[str, str]:
        """Dependency -> why the service waits for it."""
        return dict(self._waiting)

    def unhealthy(self) -> dict[str, str]:
        """Loop -> why it counts as stuck; empty when healthy."""
        now = self._clock()
        return {
            loop: f"no turn for {now - self._ticks[loop]:.0f} s (limit {limit:.0f} s)"
            for loop, limit in self._limits_s.items()
            if now - self._ticks[loop] > limit
        }

    def unready(self) -> dict[str, str]:
        """Dependency or loop -> what the service waits for; empty when ready."""
        return {**self._waiting, **self.unhealthy()}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a request to `path`."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        if path in ("/healthz", "/readyz"):
            wrong = self.unhealthy() if path == "/healthz" else self.unready()
            body = msgspec.json.encode({"ok": not wrong, "waiting_for": wrong})
            return (503 if wrong else 200), "application/json", body
        return 404, "text/plain", b"/healthz, /readyz, /metrics\n"


class Answers:
    """Whether a dependency answers what it is asked now and then; the service is not ready when it does not.

    One question without an answer may be a busy machine; two in a row, `ASK_AGAIN_S` apart, are an absence.
    """

    def __init__(self, health: Health, dependency: str, outage: Outage) -> None:
        self._health = health
        self._dependency = dependency
        self._outage = outage
        self._unanswered = 0

    def came(self) -> None:
        """It answered."""
        self._unanswered = 0
        self._outage.worked()
        self._health.has(self._dependency)

    def failed(self, why: str) -> None:
        """It did not."""
        self._unanswered += 1
        if self._unanswered > 1:
            self._outage.failed(error=why)
            self._health.wait_for(self._dependency, why)


class HealthServer:
    """Serves a `Health` over HTTP from a thread of its own; port 0 takes any free port, see `port`."""

    def __init__(self, health: Health, port: int, host: str = "127.0.0.1") -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                status, kind, body = health.answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """A probe every few seconds is no news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
