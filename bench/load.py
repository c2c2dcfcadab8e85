"""The load generator: MQTT packets made beforehand, written in large pieces, acknowledgements counted. QoS 1.

It must be cheaper than what it measures: about 2 CPU µs a message, most of them in the kernel.
"""

import selectors
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

WINDOW: Final = 2000
"""Messages of one connection that may wait for their PUBACK."""
_PUBACK: Final = 0x40
_TICK_S: Final = 0.002


class BrokerGone(Exception):
    """The broker refused or closed a connection of the load generator."""


def publish_packet(topic: str, packet_id: int, payload: bytes) -> bytes:
    """PUBLISH (MQTT 5, QoS 1, no properties)."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">HB", packet_id, 0) + payload
    size, length = len(body), b""
    while size > 127:
        length += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return b"\x32" + length + bytes((size,)) + body


def count_pubacks(data: bytes) -> tuple[int, bytes]:
    """How many PUBACKs `data` begins with, and what is left: a piece of a packet.

    >>> count_pubacks(bytes.fromhex("40020001 4003000210 4002"))
    (2, b'@\\x02')
    """
    whole = len(data) // 4
    if whole and data[: 4 * whole : 4] == b"\x40" * whole and data[1 : 4 * whole : 4] == b"\x02" * whole:
        return whole, data[4 * whole :]
    at = found = 0
    while len(data) - at >= 2 and at + 2 + data[at + 1] <= len(data):
        if data[at] != _PUBACK:
            raise BrokerGone(f"the broker sent packet type {data[at] >> 4}: {data[at : at + 20].hex()}")
        found += 1
        at += 2 + data[at + 1]
    return found, data[at:]


class _Connection:
    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = name.encode()
        body = b"\0\4MQTT\5\2\0\0\0" + struct.pack(">H", len(client)) + client
        self.socket.sendall(b"\x10" + bytes((len(body),)) + body)
        head = self.socket.recv(2)
        answer = self.socket.recv(head[1])
        if head[0] != 0x20 or answer[1] != 0:
            raise BrokerGone(f"the broker refused the load generator: {answer.hex()}")
        self.socket.setblocking(False)
        self.unacked = 0
        self.waiting = b""
        self._rest = b""

    def read(self) -> None:
        data = self.socket.recv(262_144)
        if not data:
            raise BrokerGone("the broker closed a connection of the load generator")
        found, self._rest = count_pubacks(self._rest + data)
        self.unacked -= found

    def write(self) -> None:
        while self.waiting:
            try:
                sent = self.socket.send(self.waiting)
            except BlockingIOError:
                return
            self.waiting = self.waiting[sent:]


class Load:
    """Some connections; a message goes over that of its number, so that a device's messages keep their order.

    `messages` are (MQTT topic, payload); with `connections` dividing the number of devices, each device has one.
    """

    def __init__(self, address: tuple[str, int], messages: Sequence[tuple[str, bytes]], connections: int = 4) -> None:
        self._packets = [
            publish_packet(topic, number // connections % 65_535 + 1, payload)
            for number, (topic, payload) in enumerate(messages)
        ]
        self._connections = [_Connection(address, f"load-{time.time_ns()}-{n}") for n in range(connections)]
        self._selector = selectors.DefaultSelector()
        for one in self._connections:
            self._selector.register(one.socket, selectors.EVENT_READ, one)
        self.late_s = 0.0
        """The longest that a message was handed over after its time."""

    def flood(self) -> None:
        """Publish all as fast as the broker takes it; return when it has acknowledged all."""
        self._play(None, 0.0)

    def paced(self, per_second: float, start_at: float) -> None:
        """Publish message `n` at `start_at + n / per_second` (unix s); return when all are acknowledged."""
        self._play(per_second, start_at)

    def close(self) -> None:
        """Close the connections."""
        for one in self._connections:
            one.socket.close()
        self._selector.close()

    def _play(self, per_second: float | None, start_at: float) -> None:
        ways, total = len(self._connections), len(self._packets)
        queues = [self._packets[way::ways] for way in range(ways)]
        places = [0] * ways
        while True:
            now = time.time()
            due = total if per_second is None else min(total, max(0, int((now - start_at) * per_second) + 1))
            for way, connection in enumerate(self._connections):
                mine = (due - way + ways - 1) // ways
                place = places[way]
                upto = min(mine, place + WINDOW - connection.unacked)
                if upto > place and not connection.waiting:
                    if per_second is not None:
                        self.late_s = max(self.late_s, now - start_at - (place * ways + way) / per_second)
                    connection.waiting = b"".join(queues[way][place:upto])
                    connection.unacked += upto - place
                    places[way] = upto
                connection.write()
            if sum(places) == total and not any(one.unacked or one.waiting for one in self._connections):
                return
            for key, _ in self._selector.select(_TICK_S):
                key.data.read()
