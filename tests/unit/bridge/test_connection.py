"""The connection, against a broker that does exactly what the test says, on a loopback socket."""

from __future__ import annotations

import array
import fcntl
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from services.bridge.connection import Connection
from services.bridge.packets import Message
from services.runtime.errors import ConfigurationError, Defect
from services.runtime.health import Health
from services.runtime.settings import BridgeOptions, MqttSettings

CONNACK = b"\x20\x03\x00\x00\x00"
CONNACK_SESSION = b"\x20\x03\x01\x00\x00"
SUBACK = b"\x90\x04\x00\x01\x00\x01"
PUBLISH_7 = b"\x32\x08\x00\x01a\x00\x07\x00hi"


class Broker:
    """Answers by hand."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self.client: socket.socket | None = None

    def accepts(self) -> bool:
        try:
            self.client, _ = self._listening.accept()
        except BlockingIOError:
            return False
        self.client.settimeout(10)
        return True

    def packet(self) -> bytes:
        """The next packet that the client sent (all of them are short)."""
        first = self.client.recv(2, socket.MSG_WAITALL)
        return first + (self.client.recv(first[1], socket.MSG_WAITALL) if first[1] else b"")

    def say(self, *packets: bytes) -> None:
        self.client.sendall(b"".join(packets))

    def close(self) -> None:
        for one in (self.client, self._listening):
            if one is not None:
                one.close()


class Seen:
    """What the connection told its owner."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.close()


def connection_to(
    broker: Broker, seen: Seen, health: Health | None = None, *, keepalive_s: int = 30, **options: object
) -> Connection:
    return Connection(
        MqttSettings(port=broker.port).model_copy(update={"keepalive_s": keepalive_s}),
        BridgeOptions(**options),
        ["weir/v1/#"],
        health or Health(),
        on_message=seen.messages.append,
        on_disconnect=seen.forget,
    )


def turn_until(connection: Connection, true: Callable[[], bool], *, reading: bool = True) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        connection.turn(0.01, reading=reading)


def greet(broker: Broker, connection: Connection, connack: bytes = CONNACK) -> bytes:
    """Accept, take CONNECT, grant the subscription; returns the SUBSCRIBE."""
    turn_until(connection, broker.accepts)
    assert broker.packet()[0] == 0x10
    broker.say(connack)
    subscribe: list[bytes] = []
    broker.client.setblocking(False)

    def subscribed() -> bool:
        try:
            subscribe.append(broker.client.recv(1000))
        except BlockingIOError:
            return False
        return True

    turn_until(connection, subscribed)
    broker.client.settimeout(10)
    return subscribe[0]


def test_the_session_is_persistent_and_the_window_asked_for(broker):
    connection = connection_to(broker, Seen(), receive_maximum=77, session_expiry_s=3600, client_id="b1")
    turn_until(connection, broker.accepts)
    connect = broker.packet()

    flags = connect[9]
    assert flags & 0x02 == 0, "clean start is off"
    assert b"\x11" + (3600).to_bytes(4, "big") in connect
    assert b"\x21" + (77).to_bytes(2, "big") in connect
    assert connect.endswith(b"\x00\x02b1")


def test_it_subscribes_with_qos_1_and_is_ready_only_when_that_is_granted(broker):
    health, seen = Health(), Seen()
    connection = connection_to(broker, seen, health)
    subscribe = greet(broker, connection)
    assert seen.forgotten == 1, "packet ids get their meaning anew"

    assert subscribe[0] == 0x82
    assert subscribe.endswith(b"weir/v1/#" + bytes([0x11]))  # QoS 1, retain handling 1
    assert "mqtt" in health.unready()
    broker.say(SUBACK)
    turn_until(connection, lambda: not health.unready())


def test_a_group_shares_its_subscription(broker):
    assert b"$share/g1/weir/v1/#" in greet(broker, connection_to(broker, Seen(), shared_group="g1"))


@pytest.mark.parametrize("code", [0x00, 0x80, 0x87, 0x9E])
def test_a_subscription_that_is_refused_or_granted_without_qos_1_is_a_clear_error(broker, code):
    connection = connection_to(broker, Seen())
    greet(broker, connection)
    broker.say(SUBACK[:-1] + bytes([code]))

    with pytest.raises(ConfigurationError, match="weir/v1/#"):
        turn_until(connection, lambda: False)


def test_refused_credentials_are_said_once_with_the_fix_and_tried_again(broker, capsys):
    health = Health()
    settings = MqttSettings(port=broker.port, username="weir-bridge", password="s3cret")
    options, seen = BridgeOptions(), Seen()
    connection = Connection(
        settings, options, ["weir/v1/#"], health, on_message=seen.messages.append, on_disconnect=seen.forget
    )
    for tries in (1, 2):
        turn_until(connection, broker.accepts)
        assert b"s3cret" in broker.packet()
        broker.say(b"\x20\x03\x00\x86\x00")  # bad user name or password
        turn_until(connection, lambda tries=tries: seen.forgotten == tries)
        assert "WEIR_MQTT__PASSWORD" in health.unready()["mqtt"]
        assert "weir-bridge" in health.unready()["mqtt"]
    said = capsys.readouterr().out
    assert said.count("mqtt_refused") == 1
    assert "s3cret" not in said + health.unready()["mqtt"]

    turn_until(connection, broker.accepts)
    broker.packet()
    broker.say(CONNACK, SUBACK)
    turn_until(connection, lambda: not health.unready())


def test_a_password_that_was_rotated_is_read_again_at_the_next_try(broker, tmp_path):
    (tmp_path / "password").write_text("old\n")
    settings = MqttSettings(port=broker.port, username="weir-bridge", password_file=tmp_path / "password")
    connection = Connection(
        settings, BridgeOptions(), ["#"], Health(), on_message=lambda _: None, on_disconnect=lambda: None
    )
    turn_until(connection, broker.accepts)
    assert broker.packet().endswith(b"\x00\x03old")
    broker.say(b"\x20\x03\x00\x86\x00")
    (tmp_path / "password").write_text("newer\n")
    turn_until(connection, broker.accepts)
    assert broker.packet().endswith(b"\x00\x05newer")


def test_a_password_file_that_is_gone_for_a_moment_is_waited_for(broker, tmp_path):
    (tmp_path / "password").write_text("old")
    settings = MqttSettings(port=broker.port, username="weir-bridge", password_file=tmp_path / "password")
    (tmp_path / "password").unlink()
    health = Health()
    connection = Connection(
        settings, BridgeOptions(), ["#"], health, on_message=lambda _: None, on_disconnect=lambda: None
    )
    turn_until(connection, lambda: str(tmp_path / "password") in health.unready()["mqtt"])
    (tmp_path / "password").write_text("new")
    turn_until(connection, broker.accepts)
    assert broker.packet().endswith(b"\x00\x03new")


def test_a_busy_broker_is_tried_again(broker):
    seen = Seen()
    connection = connection_to(broker, seen)
    for tries in (1, 2):
        turn_until(connection, broker.accepts)
        broker.packet()
        broker.say(b"\x20\x03\x00\x89\x00")  # server busy
        turn_until(connection, lambda tries=tries: seen.forgotten == tries)


def test_a_broker_that_bans_the_bridge_ends_it(broker):
    connection = connection_to(broker, Seen())
    turn_until(connection, broker.accepts)
    broker.say(b"\x20\x03\x00\x8a\x00")
    with pytest.raises(ConfigurationError, match="refused the bridge"):
        turn_until(connection, lambda: False)


def test_a_session_taken_over_is_a_clear_error(broker):
    connection = connection_to(broker, Seen(), client_id="twin")
    greet(broker, connection)
    broker.say(SUBACK, b"\xe0\x02\x8e\x00")

    with pytest.raises(ConfigurationError, match="twin"):
        turn_until(connection, lambda: False)


def test_messages_are_handed_over_and_acknowledged_when_told_in_one_run_of_bytes(broker):
    seen = Seen()
    connection = connection_to(broker, seen)
    greet(broker, connection)
    broker.say(SUBACK, PUBLISH_7, PUBLISH_7.replace(b"\x07", b"\x08"))
    turn_until(connection, lambda: len(seen.messages) == 2)

    assert [(m.topic, m.payload, m.mid) for m in seen.messages] == [(b"a", b"hi", 7), (b"a", b"hi", 8)]
    connection.acknowledge([7, 8])
    assert broker.client.recv(100) == b"\x40\x02\x00\x07\x40\x02\x00\x08"


def test_what_stands_behind_a_disconnect_packet_is_not_handed_over(broker):
    """Its packet id would be acknowledged on the next connection, where it names another message."""
    seen = Seen()
    connection = connection_to(broker, seen)
    greet(broker, connection)
    broker.say(SUBACK, b"\xe0\x00", PUBLISH_7)
    forgotten = seen.forgotten
    turn_until(connection, lambda: seen.forgotten > forgotten)

    assert seen.messages == []
    connection.acknowledge([7])


def test_a_lost_connection_is_forgotten_and_made_again_with_half_a_packet_gone(broker):
    seen = Seen()
    connection = connection_to(broker, seen)
    greet(broker, connection)
    broker.say(SUBACK, PUBLISH_7[:5])
    connection.turn(0.1, reading=True)
    broker.client.close()
    forgotten = seen.forgotten
    turn_until(connection, lambda: seen.forgotten > forgotten)

    greet(broker, connection, CONNACK_SESSION)
    broker.say(SUBACK, PUBLISH_7)
    turn_until(connection, lambda: len(seen.messages) == 1)
    assert seen.messages[0].payload == b"hi"


def test_a_pause_in_reading_leaves_messages_in_the_socket_and_the_connection_alive(broker):
    """Longer than paho waits for an answer to its ping, which nobody reads."""
    seen = Seen()
    connection = connection_to(broker, seen, keepalive_s=1)
    greet(broker, connection)
    broker.say(SUBACK)
    connection.turn(0.1, reading=True)
    broker.say(PUBLISH_7)
    forgotten = seen.forgotten

    for _ in range(6):
        turn_until(connection, lambda: _waiting(broker.client), reading=False)
        assert broker.packet() == b"\xc0\x00"
    assert (seen.messages, seen.forgotten) == ([], forgotten)

    turn_until(connection, lambda: len(seen.messages) == 1)


def _waiting(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(10)


def test_what_a_callback_raises_reaches_the_loop(broker):
    def fail(_message: Message) -> None:
        raise Defect("a bug of ours")

    connection = Connection(
        MqttSettings(port=broker.port),
        BridgeOptions(),
        ["weir/v1/#"],
        Health(),
        on_message=fail,
        on_disconnect=Seen().forget,
    )
    greet(broker, connection)
    broker.say(SUBACK, PUBLISH_7)

    with pytest.raises(Defect, match="a bug of ours"):
        turn_until(connection, lambda: False)


def test_a_turn_says_when_more_waits_than_it_takes_and_the_next_takes_the_rest(broker):
    seen = Seen()
    connection = connection_to(broker, seen)
    greet(broker, connection)
    body = b"\x00\x01a\x00\x07\x00" + b"x" * 1000
    publish = b"\x32" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body
    waiting = connection._client.socket()
    sender = threading.Thread(target=broker.say, args=[publish] * 300)
    sender.start()
    end = time.monotonic() + 20
    while _bytes_in(waiting) < 65_536:
        assert time.monotonic() < end
    assert connection.turn(0.0, reading=True)
    assert not connection.turn(0.0, reading=False), "nobody reads: the owner may sleep"
    turn_until(connection, lambda: len(seen.messages) == 300)
    sender.join()
    assert not connection.turn(0.0, reading=True)


def _bytes_in(sock: socket.socket) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, found)
    return found[0]
