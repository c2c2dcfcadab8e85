"""One MQTT connection of one device, or of a few that share it.

paho is driven from the caller's thread by its external-loop calls (no thread per connection, no locks): the owner waits
for the socket and calls `on_readable`, `flush`, `keep_alive`.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from schemas import mqtt as topics
from services.runtime import mqtt
from services.runtime.errors import ConfigurationError, Unavailable
from services.runtime.settings import MqttSettings

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"

STABLE_S: Final = 5.0
"""A connection that breaks sooner after the broker accepted it has not really stood."""

_SESSION_TAKEN_OVER: Final = 0x8E
_PERSON_MUST_ACT: Final = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90})
"""Reason codes: protocol version, client id, password, not authorised, banned, method, topic name."""


class Address(NamedTuple):
    """Whose topics a device publishes on."""

    tenant: str
    site: str
    device: str

    @property
    def telemetry(self) -> str:
        """Topic of its messages."""
        return topics.telemetry_topic(*self)

    @property
    def status(self) -> str:
        """Topic of its retained status and last will."""
        return topics.status_topic(*self)


class Connection:
    """At most `window` publishes are unacknowledged at once (the broker may ask for less).

    What is unacknowledged when the connection breaks is sent again by paho when it is back: at least once.
    The last will can say `offline` for one topic only: that of the first device.
    """

    def __init__(self, devices: Sequence[Address], settings: MqttSettings, *, window: int) -> None:
        first = devices[0]
        self._devices = devices
        self._where = f"{settings.host}:{settings.port}"
        self._asked_window = window
        self._window = window
        self._status = ONLINE
        self._statuses: deque[tuple[str, bytes]] = deque()
        self._status_ids: set[int] = set()
        self._in_flight = 0
        self.up = False
        """Connected, and accepted by the broker."""
        self.published = 0
        """Telemetry handed to the connection; each is counted once, however often it is sent again."""
        self.acknowledged = 0
        """Telemetry that the broker has acknowledged."""
        self.accepted = 0
        """Times that the broker has accepted the connection."""
        self._accepted_at = 0.0
        self.short_lived = False
        """It broke within `STABLE_S` of being accepted; whoever reads it clears it."""
        self.why_down = ""
        """What was said last, when it was not."""
        self._client = mqtt.client(settings, client_id=f"weir-sim-{first.tenant}-{first.device}")
        self._client.will_set(first.status, OFFLINE, qos=1, retain=True)
        # The window is kept here; paho's own would walk all that is unacknowledged at every PUBACK.
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(settings.host, settings.port, settings.keepalive_s, clean_start=True)

    def connect(self) -> None:
        """Open the socket and say hello; `up` follows when the broker has answered. Blocks for 5 s at most.

        Raises:
            Unavailable: Nobody answers there.
            ConfigurationError: The broker's certificate is not trusted.
        """
        self.why_down = f"MQTT broker {self._where}: no answer to CONNECT"
        try:
            self._client.reconnect()
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(f"MQTT broker {self._where}: {error.verify_message}; check ca_file") from None
        except OSError as error:
            raise Unavailable(f"MQTT broker {self._where}: {error}") from None

    @property
    def socket(self) -> socket.socket | None:
        """To wait on; None while there is none."""
        # paho's type allows for websockets, which this client does not use.
        found: socket.socket | None = self._client.socket()  # type: ignore[assignment]
        return found

    def stands(self, now: float) -> bool:
        """Up for `STABLE_S` (monotonic seconds)."""
        return self.up and now - self._accepted_at > STABLE_S

    @property
    def wants_write(self) -> bool:
        """Bytes wait for the socket to take them."""
        return self._client.want_write()

    @property
    def idle(self) -> bool:
        """All is acknowledged."""
        return not self._in_flight and not self._statuses

    @property
    def has_room(self) -> bool:
        """Whether `publish` may be called."""
        return self.up and not self._statuses and self._in_flight < self._window

    def publish(self, topic: str, payload: bytes) -> None:
        """Send, QoS 1. Only while `has_room`."""
        self._send(topic, payload, retain=False)
        self.published += 1

    def say(self, status: bytes) -> None:
        """Leave a retained status for each device, as the window allows."""
        self._status = status
        self._statuses = deque((device.status, status) for device in self._devices)
        self._send_statuses()

    def on_readable(self) -> None:
        """The socket has bytes."""
        self._client.loop_read()
        self._send_statuses()

    def flush(self) -> None:
        """The socket takes bytes."""
        self._client.loop_write()

    def keep_alive(self) -> None:
        """Ping, or notice that the broker no longer answers; at least once a second or two."""
        self._client.loop_misc()

    def leave(self) -> None:
        """Say goodbye; the broker then keeps the last will to itself."""
        self._client.disconnect()

    def _send(self, topic: str, payload: bytes, *, retain: bool) -> int:
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._in_flight += 1
        return info.mid

    def _send_statuses(self) -> None:
        while self.up and self._statuses and self._in_flight < self._window:
            topic, status = self._statuses.popleft()
            self._status_ids.add(self._send(topic, status, retain=True))

    def _on_connect(
        self, _client: paho.Client, _: Any, _flags: paho.ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if reason.value in _PERSON_MUST_ACT:
                raise ConfigurationError(
                    f"MQTT broker {self._where} refuses {self._devices[0].device}: {reason}; "
                    "check username, password and the broker's ACL"
                )
            self.why_down = f"MQTT broker {self._where}: {reason}"
            return
        self._window = min(self._asked_window, getattr(properties, "ReceiveMaximum", self._asked_window))
        self.up = True
        self.accepted += 1
        self._accepted_at = time.monotonic()
        self._statuses = deque((device.status, self._status) for device in self._devices)

    def _on_disconnect(
        self, _client: paho.Client, _: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if self.up and not self.stands(time.monotonic()):
            self.short_lived = True
            # Mosquitto 2.0 says nothing when another client takes the session over.
            self.why_down = (
                f"{self._devices[0].device} was cut off soon after it was accepted; "
                "another replay of the same devices would do that"
            )
        self.up = False
        if flags.is_disconnect_packet_from_server and reason.value == _SESSION_TAKEN_OVER:
            raise ConfigurationError(
                f"another client took over {self._devices[0].device}'s session: two replays may not simulate the same "
                "devices; give one of them another tenant or prefix"
            )

    def _on_publish(
        self, _client: paho.Client, _: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._in_flight -= 1
        if reason.is_failure:
            what = f"MQTT broker {self._where} refuses what {self._devices[0].device} publishes: {reason}"
            if reason.value in _PERSON_MUST_ACT:
                raise ConfigurationError(f"{what}; check the ACL")
            raise Unavailable(what)
        if mid in self._status_ids:
            self._status_ids.discard(mid)
        else:
            self.acknowledged += 1
