"""A proxy between two parties, which can cut, silence, refuse and slow down what goes through it.

Each link lives in a thread of its own; its methods may be called from any thread, and what they order is in force
when they return.
"""

import asyncio
import errno
import json
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.faults.drill.http_requests import Request, response
from tests.faults.drill.proxied import Address, ClientSide, Connection

LOOPBACK: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
"""Below the ephemeral range: while a link is down, no outgoing connection can take its port."""
_PATIENCE_S: Final = 30.0


class Link:
    """A way from a port of its own, on loopback, to `upstream`."""

    def __init__(self, name: str, upstream: Address, port: int = 0) -> None:
        """Listens when this returns. `port` 0: a free one below the ephemeral range. Raises `OSError`: it is taken."""
        self.name = name
        self.upstream = upstream
        self.bytes_passed = 0
        """Both ways together."""
        self.bytes_swallowed = 0
        """Bytes that vanished in `half_open`."""
        self.connections_cut = 0
        """Open connections that `cut`, `down` or `heal` has reset."""
        self.connections_refused = 0
        """Connections that upstream did not take."""
        self.latency_s = 0.0
        self.is_silent = False
        self.loop = asyncio.new_event_loop()
        self.open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self.loop.run_forever, name=f"link {name}", daemon=True)
        self._thread.start()
        try:
            self.port = self._find_port() if port == 0 else self._listen(port)
        except OSError:
            self.close()
            raise

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self.open)

    def cut(self) -> int:
        """Reset all open connections, on both sides; new ones may come at once. Returns how many there were."""
        return self._do(self._reset_all)

    def half_open(self) -> None:
        """From now on bytes vanish both ways and nobody hears of a close; new connections are taken, and silent too."""
        self._do(self._silence)

    def heal(self) -> None:
        """End `half_open` and `slow`; what was silenced is reset."""
        self._do(self._heal)

    def down(self) -> None:
        """Reset all, and refuse new connections."""
        self._do(self._down)

    def up(self) -> None:
        """Take connections again, on the same port."""
        if self._server is None:
            self._listen(self.port)

    def slow(self, latency_s: float) -> None:
        """Bytes come so much later, each way, in their order; 0 ends it."""
        self._do(lambda: setattr(self, "latency_s", latency_s))

    def close(self) -> None:
        """Reset all, for good, and end the thread."""
        if self._thread.is_alive():
            self._do(self._down)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    # ------------------------------------------------------------------------------------- what a subclass may change

    def take(self, connection: Connection, data: bytes) -> None:
        """What the client has sent; called in the link's thread."""
        connection.to_upstream(data)

    # --------------------------------------------------------------------------------------------- in the link's thread

    def _do(self, action: Callable[[], Any]) -> Any:
        async def act() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(_PATIENCE_S)

    def _find_port(self) -> int:
        while True:
            try:
                return self._listen(random.choice(_PORTS))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise

    def _listen(self, port: int) -> int:
        opening = self.loop.create_server(lambda: ClientSide(self), LOOPBACK, port)
        self._server = asyncio.run_coroutine_threadsafe(opening, self.loop).result(_PATIENCE_S)
        return port

    def _reset_all(self) -> int:
        cut = list(self.open)
        for connection in cut:
            connection.reset()
        self.connections_cut += len(cut)
        return len(cut)

    def _silence(self) -> None:
        self.is_silent = True
        for connection in self.open:
            connection.is_silenced = True

    def _heal(self) -> None:
        self.is_silent = False
        self.latency_s = 0.0
        silenced = [connection for connection in self.open if connection.is_silenced]
        for connection in silenced:
            connection.reset()
        self.connections_cut += len(silenced)

    def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset_all()


class InfluxLink(Link):
    """A link to InfluxDB that can answer writes (`/api/v2/write`, `/write`) in its place. Queries pass untouched."""

    def __init__(self, name: str, upstream: Address, port: int = 0) -> None:
        self.refused = 0
        """Writes that were answered here."""
        self.writes = 0
        """Writes that were passed on."""
        self._clear()
        super().__init__(name, upstream, port)

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: str = "", share: float = 1.0) -> None:
        """Answer this `share` (0..1) of writes so, evenly spread, and pass on the others, until `pass_all`."""
        self._do(lambda: self._set_answer(response(status, dict(headers or {}), body.encode()), share))

    def refuse_line(self, predicate: Callable[[bytes], bool]) -> None:
        """Answer 400, as InfluxDB words it, to a write with such a line, of which none is stored. Others pass."""
        self._do(lambda: setattr(self, "_refuses", predicate))

    def delay(self, seconds: float) -> None:
        """Hold each write for so long before it is passed on or answered; 0 ends it."""
        self._do(lambda: setattr(self, "_delay_s", seconds))

    def pass_all(self) -> None:
        """End `answer`, `refuse_line` and `delay`."""
        self._do(self._clear)

    def heal(self) -> None:
        """`Link.heal` and `pass_all`."""
        self.pass_all()
        super().heal()

    def take(self, connection: Connection, data: bytes) -> None:
        """See `Link.take`."""
        for request in connection.requests.feed(data):
            if not request.is_write:
                connection.to_upstream(request.raw)
            elif self._delay_s > 0.0:
                self.loop.call_later(self._delay_s, self._decide, connection, request)
            else:
                self._decide(connection, request)

    def _clear(self) -> None:
        self._answer = b""
        self._share = 0.0
        self._owed = 0.0
        self._refuses: Callable[[bytes], bool] | None = None
        self._delay_s = 0.0

    def _set_answer(self, answer: bytes, share: float) -> None:
        self._answer, self._share, self._owed = answer, share, 0.0

    def _decide(self, connection: Connection, request: Request) -> None:
        answer = self._answer_to(request)
        if answer is None:
            self.writes += 1
            connection.to_upstream(request.raw)
        else:
            self.refused += 1
            connection.to_client(answer)

    def _answer_to(self, request: Request) -> bytes | None:
        if self._refuses is not None:
            guilty = next((line for line in request.lines if self._refuses(line)), None)
            if guilty is not None:
                said = f"unable to parse '{guilty.decode(errors='replace')}': invalid number"
                return response(400, {"Content-Type": "application/json"}, json.dumps({"error": said}).encode())
        self._owed += self._share
        if self._answer and self._owed >= 1.0:
            self._owed -= 1.0
            return self._answer
        return None
