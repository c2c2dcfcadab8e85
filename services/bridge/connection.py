"""The MQTT connection: paho for the session, TLS and keepalive; our own reading of PUBLISH.

Driven by the bridge's one thread through paho's calls for foreign event loops, so that there is no thread of paho's
that could die unseen: what a callback raises ends the process.
"""

import select
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.bridge import metrics
from services.bridge.packets import PUBLISH, Message, Packet, Splitter, read_publish, write_pubacks
from services.runtime import logging, mqtt
from services.runtime.backoff import Backoff
from services.runtime.errors import ConfigurationError
from services.runtime.health import Health
from services.runtime.mqtt import Failure, Trouble
from services.runtime.settings import BridgeOptions, MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike  # defined for type checkers only

log = logging.get("bridge.mqtt")

_READ_BYTES: Final = 64 * 1024
"""A turn reads no more than twice this, so that what was received stays near the receive maximum."""
_MISC_S: Final = 0.5
_LASTING_S: Final = 10.0
"""A connection shorter than this leaves the backoff where it was; Mosquitto 2.0.11 tells nobody of a take-over."""
_PINGREQ: Final = b"\xc0\x00"

_TAKEN_OVER: Final = 0x8E
_CREDENTIALS: Final = frozenset((0x86, 0x87))
"""CONNACK: user or password, not authorized. A password may be rotated: it is read again at each try."""
_NO_USE_TRYING_AGAIN: Final = frozenset((0x84, 0x85, 0x8A, 0x8C))
"""CONNACK: protocol version, client id, banned, authentication method."""


class Connection:
    """One persistent session with the broker; connects again, with backoff, for ever.

    `on_message` gets each PUBLISH; `on_disconnect` is called when packet ids have lost their meaning.
    """

    def __init__(
        self,
        settings: MqttSettings,
        options: BridgeOptions,
        filters: Sequence[str],
        health: Health,
        *,
        on_message: Callable[[Message], None],
        on_disconnect: Callable[[], None],
    ) -> None:
        self._where = f"{settings.host}:{settings.port}"
        self._client_id = options.client_id
        share = f"$share/{options.shared_group}/" if options.shared_group else ""
        self._filters = [share + one for one in filters]
        self._health = health
        self._on_message = on_message
        self._forget = on_disconnect
        self._splitter = Splitter()
        self._more = False
        self._backoff = Backoff()
        self._connect_at = 0.0
        self._misc_at = 0.0
        self._heard_all_at = 0.0
        self._keepalive_s = settings.keepalive_s
        self._connected_at = 0.0
        self._sessions = 0
        self._username = settings.username
        self._said: set[Trouble] = set()
        """What the log was told of, since the connection last stood."""
        self._failure: Failure | None = None
        """Why this try came to nothing, where that is known better than "lost"."""
        self._client = mqtt.client(settings, client_id=options.client_id, manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's has no types
        properties.SessionExpiryInterval = options.session_expiry_s
        properties.ReceiveMaximum = options.receive_maximum
        self._client.connect_async(
            settings.host, settings.port, settings.keepalive_s, clean_start=False, properties=properties
        )
        health.wait_for("mqtt", f"connecting to {self._where}")

    def turn(self, wait_s: float, *, reading: bool) -> bool:
        """Connect if it is time, read what is there (waiting for it at most `wait_s`), write what is due.

        Without `reading` messages stay in the socket; the connection is kept alive all the same. Returns whether there
        was more to read than one turn takes.
        """
        connected = self._client.socket()
        if connected is None:
            self._connect(wait_s)
            return False
        readers = [connected] if reading else []
        writers = [connected] if self._client.want_write() else []
        # What TLS has deciphered already shows in no socket.
        readable, writable, _ = select.select(readers, writers, [], 0.0 if reading and self._more else wait_s)
        if readable or (reading and self._more):
            self._more = self._read(connected)
        if writable or self._client.want_write():
            self._client.loop_write()
        now = time.monotonic()
        if reading and not readable:
            if now >= self._misc_at:
                self._misc_at = now + _MISC_S
                self._client.loop_misc()
            self._heard_all_at = now
        elif now - self._heard_all_at >= self._keepalive_s / 2:
            # paho would take the broker for dead, whose PINGRESP still waits unread behind messages.
            self._client._packet_queue(paho.PINGREQ, _PINGREQ, 0, 0)
            self._heard_all_at = now
        return reading and self._more

    def acknowledge(self, mids: list[int]) -> None:
        """Send PUBACKs, in order, in one write; nothing where the connection has just gone."""
        # paho's own `ack` makes a packet object and a system call of each.
        self._client._packet_queue(paho.PUBACK, write_pubacks(mids), 0, 0)

    def leave(self, deadline: float) -> None:
        """Send what is due and DISCONNECT, until `deadline` (monotonic); the broker keeps the session."""
        while self._client.want_write() and self._client.socket() is not None and time.monotonic() < deadline:
            self.turn(0.05, reading=True)
        if self._client.socket() is not None:
            self._client.disconnect()

    def _connect(self, wait_s: float) -> None:
        now = time.monotonic()
        if now < self._connect_at:
            time.sleep(min(wait_s, self._connect_at - now))
            return
        self._connect_at = now + self._backoff.next_s()
        self._splitter, self._more = Splitter(), False
        self._heard_all_at = now
        self._failure = mqtt.HUNG_UP
        try:
            self._client.reconnect()
        except OSError as error:
            self._say_down(mqtt.failure(error))

    def _read(self, connected: "SocketLike") -> bool:
        """Take what is there; True where more may be."""
        taken = 0
        while taken < _READ_BYTES:
            data = self._received(connected)
            if data is None:
                return False
            taken += len(data)
            if not data:
                self._client._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
                return False
            for packet in self._splitter.feed(data):
                if packet.first & 0xF0 == PUBLISH:
                    self._on_message(read_publish(packet))
                elif not self._paho_takes(packet):
                    return False
            # TLS gives a record at a time, often one message; a plain socket gives all that it has.
            if len(data) < _READ_BYTES and not isinstance(connected, ssl.SSLSocket):
                return False
        return True

    def _received(self, connected: "SocketLike") -> bytes | None:
        """The next bytes; none where the connection has ended, None where there are no more for now."""
        try:
            return connected.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                self._failure = mqtt.failure(error)
            return b""

    def _paho_takes(self, packet: Packet) -> bool:
        """Let paho handle a packet; False where that ended the connection."""
        self._client._in_packet = {
            "command": packet.first,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(packet.body),
            "packet": bytearray(packet.body),
            "to_process": 0,
            "pos": 0,
        }
        if (code := self._client._packet_handle()) > 0:
            self._client._loop_rc_handle(code)
        return self._client.socket() is not None

    def _on_connect(
        self, client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            if reason.value in _NO_USE_TRYING_AGAIN:
                raise ConfigurationError(
                    f"MQTT broker {self._where} refused the bridge: {reason}; check the broker's version and its rights"
                    f" for client id {self._client_id}"
                )
            # Said when the connection ends, which follows.
            self._failure = (
                mqtt.refused(str(reason), self._username)
                if reason.value in _CREDENTIALS
                else Failure(Trouble.AWAY, str(reason))
            )
            return
        self._failure = None
        self._forget()
        if self._sessions and not flags.session_present:
            metrics.SESSIONS_LOST.inc()
            log.warning("mqtt_session_lost", broker=self._where, meaning="the broker forgot what it had queued")
        self._sessions += 1
        # Retain handling 1: retained status comes once, when the subscription is new, not at every reconnect.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe([(one, options) for one in self._filters])

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        for one, reason in zip(self._filters, reasons, strict=True):
            if reason.value != 1:
                raise ConfigurationError(
                    f"MQTT broker {self._where} refused to subscribe {one} with QoS 1: {reason}; let client"
                    f" {self._client_id} read it"
                )
        self._connected_at = time.monotonic()
        self._said.clear()
        self._health.has("mqtt")
        metrics.CONNECTIONS.inc()
        log.info("mqtt_connected", broker=self._where, filters=self._filters)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        self._forget()
        lasted_s = time.monotonic() - self._connected_at
        if lasted_s >= _LASTING_S:
            self._backoff.reset()
        if flags.is_disconnect_packet_from_server and reason.value == _TAKEN_OVER:
            raise ConfigurationError(
                f"another client took over the session {self._client_id}; give each bridge its own"
                " WEIR_BRIDGE__CLIENT_ID (and one WEIR_BRIDGE__SHARED_GROUP)"
            )
        if self._failure is not None:
            self._say_down(self._failure)
        elif reason.is_failure or flags.is_disconnect_packet_from_server:
            short = f", {lasted_s:.1f} s after it was made: does another client use the id {self._client_id}?"
            lost = f"connection lost ({reason})" + (short if lasted_s < _LASTING_S else "")
            self._say_down(Failure(Trouble.AWAY, lost))

    def _say_down(self, failure: Failure) -> None:
        """Once in the log for each kind of trouble; each time in the metrics and for /readyz."""
        trouble, why = failure
        self._health.wait_for("mqtt", f"{self._where}: {why}")
        metrics.FAILED_CONNECTIONS.labels(reason=trouble.value).inc()
        if trouble not in self._said:
            self._said.add(trouble)
            if trouble is Trouble.AWAY:
                log.warning("mqtt_unavailable", broker=self._where, why=why)
            else:
                log.error("mqtt_refused", broker=self._where, why=why)
