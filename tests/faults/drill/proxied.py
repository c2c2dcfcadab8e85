"""One connection through a link: two sockets, what waits between them, and how they end. Lives in the link's thread."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from tests.faults.drill.http_requests import Requests

Address = tuple[str, int]

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class Carrier(Protocol):
    """The link that a connection belongs to."""

    loop: asyncio.AbstractEventLoop
    upstream: Address
    open: "set[Connection]"
    is_silent: bool
    latency_s: float
    bytes_passed: int
    bytes_swallowed: int
    connections_refused: int

    def take(self, connection: "Connection", data: bytes) -> None:
        """What the client has sent: to be passed on, or answered."""


class Connection:
    """A client's connection and its continuation upstream."""

    def __init__(self, link: Carrier, client: asyncio.Transport) -> None:
        self.link = link
        self.client = client
        self.upstream: asyncio.Transport | None = None
        self.is_silenced = link.is_silent
        self.requests = Requests()
        self._early: list[bytes] = []
        self._is_over = False
        self._due = {"client": 0.0, "upstream": 0.0}
        link.open.add(self)
        if not self.is_silenced:
            self._connecting = link.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            transport, _ = await self.link.loop.create_connection(lambda: _UpstreamSide(self), *self.link.upstream)
        except OSError:
            self.link.connections_refused += 1
            self.reset()
            return
        self.upstream = transport
        if self._is_over:
            _reset(transport)
            return
        for data in self._early:
            self.link.take(self, data)
        self._early = []

    def from_client(self, data: bytes) -> None:
        if self.is_silenced:
            self.link.bytes_swallowed += len(data)
        elif self.upstream is None:
            # Nothing is awaited here but a connection on loopback.
            self._early.append(data)
        else:
            self.link.take(self, data)

    def from_upstream(self, data: bytes) -> None:
        if self.is_silenced:
            self.link.bytes_swallowed += len(data)
        else:
            self.to_client(data)

    def to_upstream(self, data: bytes) -> None:
        self._pass("upstream", data)

    def to_client(self, data: bytes) -> None:
        self._pass("client", data)

    def lost(self, side: str) -> None:
        """One side has closed: the other hears of it, after what was sent before."""
        if not self.is_silenced:
            self._later("client" if side == "upstream" else "upstream", self._close)

    def reset(self) -> None:
        self._is_over = True
        self.link.open.discard(self)
        _reset(self.client)
        if self.upstream is not None:
            _reset(self.upstream)

    def _close(self) -> None:
        self._is_over = True
        self.link.open.discard(self)
        self.client.close()
        if self.upstream is not None:
            self.upstream.close()

    def _pass(self, to: str, data: bytes) -> None:
        self._later(to, lambda: self._write(to, data))

    def _write(self, to: str, data: bytes) -> None:
        transport = self.client if to == "client" else self.upstream
        if self.is_silenced:
            self.link.bytes_swallowed += len(data)
        elif not self._is_over and transport is not None:
            self.link.bytes_passed += len(data)
            transport.write(data)

    def _later(self, to: str, action: Callable[[], None]) -> None:
        now = self.link.loop.time()
        if self.link.latency_s <= 0.0 and self._due[to] <= now:
            action()
            return
        # A step apart, as the loop does not keep the order of what is due at the same time.
        self._due[to] = max(self._due[to] + 1e-6, now + self.link.latency_s)
        self.link.loop.call_at(self._due[to], action)


class ClientSide(asyncio.Protocol):
    """The client's socket: a new connection of the link."""

    def __init__(self, link: Carrier) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connection = Connection(self._link, transport)

    def data_received(self, data: bytes) -> None:
        self._connection.from_client(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._connection.lost("client")

    def pause_writing(self) -> None:
        if self._connection.upstream is not None:
            self._connection.upstream.pause_reading()

    def resume_writing(self) -> None:
        if self._connection.upstream is not None:
            self._connection.upstream.resume_reading()


class _UpstreamSide(asyncio.Protocol):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        self._connection.from_upstream(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._connection.lost("upstream")

    def pause_writing(self) -> None:
        self._connection.client.pause_reading()

    def resume_writing(self) -> None:
        self._connection.client.resume_reading()


def _reset(transport: asyncio.Transport) -> None:
    """Close at once, with a RST and not a FIN."""
    taken = transport.get_extra_info("socket")
    if taken is not None and taken.fileno() >= 0:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    transport.abort()
