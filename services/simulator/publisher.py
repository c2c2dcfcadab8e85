"""Publisher: a fleet's MQTT connections, driven by one thread."""

import selectors
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.runtime import logging
from services.runtime.backoff import Backoff
from services.runtime.errors import Unavailable
from services.runtime.settings import MqttSettings
from services.simulator.connection import OFFLINE, Address, Connection

log = logging.get("simulator")

WINDOW: Final = 64
"""Most unacknowledged publishes of a connection."""
CONNECTS_PER_TURN: Final = 20
"""So that a fleet that comes back does not keep those already connected waiting."""
HELLO_S: Final = 10.0
"""A broker that accepts the socket and does not answer within this is not there."""
MISC_S: Final = 1.0


class Publisher:
    """One connection per device, up to `connections`; beyond that devices share them in turn.

    Call `turn` all the time: it reads, writes, pings, and reconnects with backoff. While the broker is away, one
    connection knocks for all.
    """

    def __init__(self, devices: Sequence[Address], settings: MqttSettings, *, connections: int) -> None:
        used = min(connections, len(devices))
        self._connections = [Connection(devices[i::used], settings, window=WINDOW) for i in range(used)]
        self._connection_of = {device: self._connections[i % used] for i, device in enumerate(devices)}
        self._telemetry_of = {device: device.telemetry for device in devices}
        self._selector = selectors.DefaultSelector()
        self._registered: dict[Connection, tuple[int, int]] = {}
        self._hello_until: dict[Connection, float] = {}
        self._backoff = Backoff()
        self._knock_at = 0.0
        self._down = False
        self._misc_at = 0.0

    @property
    def published(self) -> int:
        """Telemetry publishes handed to MQTT."""
        return sum(c.published for c in self._connections)

    @property
    def acknowledged(self) -> int:
        """Telemetry publishes that the broker has acknowledged."""
        return sum(c.acknowledged for c in self._connections)

    @property
    def reconnects(self) -> int:
        """Connections made again."""
        return sum(max(c.accepted - 1, 0) for c in self._connections)

    @property
    def idle(self) -> bool:
        """All is acknowledged, statuses too."""
        return all(c.idle for c in self._connections)

    @property
    def connected(self) -> bool:
        """Every connection stands."""
        return all(c.up for c in self._connections)

    def has_room(self, device: Address) -> bool:
        """Whether `publish` may be called for the device."""
        return self._connection_of[device].has_room

    def publish(self, device: Address, payload: bytes) -> None:
        """Publish the device's telemetry, QoS 1. Only while `has_room`."""
        connection = self._connection_of[device]
        connection.publish(self._telemetry_of[device], payload)
        if connection.wants_write or not connection.up:
            self._watch(connection)

    def turn(self, wait_s: float) -> None:
        """Wait up to `wait_s` seconds for the network, and do what it brings.

        Raises:
            ConfigurationError: The broker refuses these clients, or another client took over a session.
            Unavailable: The broker refuses a publish.
        """
        for key, events in self._selector.select(wait_s if self._selector.get_map() else 0):
            connection: Connection = key.data
            if events & selectors.EVENT_WRITE:
                connection.flush()
            if events & selectors.EVENT_READ:
                connection.on_readable()
            self._watch(connection)
        now = time.monotonic()
        if now >= self._misc_at:
            self._misc_at = now + MISC_S
            for connection in self._connections:
                connection.keep_alive()
                self._watch(connection)
        self._reconnect(now)
        if not self._selector.get_map():
            time.sleep(min(wait_s, max(self._knock_at - now, 0.0)))

    def connect(self, should_stop: Callable[[], bool]) -> None:
        """Wait until every device is connected and has said so, or until asked to stop."""
        while not should_stop() and not (self.connected and self.idle):
            self.turn(0.1)

    def close(self, deadline_s: float) -> None:
        """Wait for acknowledgements, leave `offline` for each device and disconnect, all within the deadline."""
        until = time.monotonic() + deadline_s
        while not self.idle and time.monotonic() < until:
            self.turn(0.05)
        for connection in self._connections:
            if connection.up:
                connection.say(OFFLINE)
                self._watch(connection)
        while any(c.up and not c.idle for c in self._connections) and time.monotonic() < until:
            self.turn(0.05)
        for connection in self._connections:
            connection.leave()
        self._selector.close()

    def _reconnect(self, now: float) -> None:
        absent = [c for c in self._connections if not c.up]
        self._note_failures(absent, now)
        if not absent:
            if self._down and all(c.stands(now) for c in self._connections):
                self._down = False
                self._backoff.reset()
                log.info("mqtt_back")
            return
        if now < self._knock_at:
            return
        at_once = CONNECTS_PER_TURN
        if self._down and len(absent) == len(self._connections):
            at_once = 0 if self._hello_until else 1
        for connection in [c for c in absent if c not in self._hello_until][:at_once]:
            self._forget(connection)
            try:
                connection.connect()
            except Unavailable as error:
                self._wait(now, str(error))
                return
            self._hello_until[connection] = now + HELLO_S
            self._watch(connection)

    def _note_failures(self, absent: Sequence[Connection], now: float) -> None:
        failed = [c for c in absent if c.short_lived]
        for connection in failed:
            connection.short_lived = False
        for connection in [c for c, until in self._hello_until.items() if c.up or c.socket is None or now > until]:
            del self._hello_until[connection]
            if not connection.up:
                failed.append(connection)
        # Connections that break together are noticed one after another: that is one failure.
        if failed and now >= self._knock_at:
            self._wait(now, failed[0].why_down)

    def _wait(self, now: float, why: str) -> None:
        if not self._down:
            self._down = True
            log.warning("mqtt_down", why=why)
        self._knock_at = now + self._backoff.next_s()

    def _watch(self, connection: Connection) -> None:
        """Have the selector watch the connection's socket for what it waits for."""
        socket = connection.socket
        wanted = None
        if socket is not None and socket.fileno() >= 0:
            wanted = (
                socket.fileno(),
                selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write else 0),
            )
        if wanted == self._registered.get(connection):
            return
        self._forget(connection)
        if wanted is not None:
            self._selector.register(wanted[0], wanted[1], connection)
            self._registered[connection] = wanted

    def _forget(self, connection: Connection) -> None:
        """Before its socket is another one: a new socket may get the old one's number."""
        known = self._registered.pop(connection, None)
        if known is not None:
            self._selector.unregister(known[0])
