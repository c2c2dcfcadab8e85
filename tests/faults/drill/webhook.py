"""Where the drill's alarms are posted."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from deploy.local.ports import LOOPBACK


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, _request: Any, _client: Any) -> None:
        """Connections are cut here on purpose."""


class Webhook:
    """Takes alarms, and remembers each post: idempotency key and body."""

    def __init__(self) -> None:
        posted: list[tuple[str, bytes]] = []
        self.posted = posted

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted.append((self.headers["Idempotency-Key"], body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self._server = _Server((LOOPBACK, 0), Handler)
        self.address: tuple[str, int] = (LOOPBACK, self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="webhook", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
