"""The few MQTT 5 packets that a publishing device needs, as bytes. Pure."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

CONNACK: Final = 2
PUBACK: Final = 4
DISCONNECT: Final = 14
PINGREQ: Final = b"\xc0\x00"

NO_SUBSCRIBERS: Final = 0x10
"""PUBACK's reason: taken, and thrown away, as nobody has subscribed."""
FIRST_ERROR: Final = 0x80
"""Reason codes from here on are errors."""

_RECEIVE_MAXIMUM: Final = 0x21
_WIDTHS: Final = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
"""Properties with a number, and its bytes; 0x26 is a pair of texts, all others are one text."""


def connect(client_id: str, keepalive_s: int, session_expiry_s: int, credentials: tuple[str, str] | None) -> bytes:
    """CONNECT that takes up the session of before (clean start 0)."""
    flags, payload = 0, _text(client_id)
    if credentials is not None:
        flags |= 0xC0
        payload += _text(credentials[0]) + _text(credentials[1])
    properties = b"\x11" + struct.pack(">I", session_expiry_s)
    head = _text("MQTT") + struct.pack(">BBH", 5, flags, keepalive_s)
    return _packet(0x10, head + _length(len(properties)) + properties + payload)


def publish(topic: str, packet_id: int, payload: bytes, *, is_repeat: bool) -> bytes:
    """PUBLISH at QoS 1, with DUP where it `is_repeat`."""
    return _packet(0x3A if is_repeat else 0x32, _text(topic) + struct.pack(">HB", packet_id, 0) + payload)


def disconnect() -> bytes:
    """DISCONNECT for good: the broker may forget the session."""
    return _packet(0xE0, b"\x00\x05\x11\x00\x00\x00\x00")


class Connected(NamedTuple):
    """What CONNACK says."""

    session_present: bool
    reason: int
    receive_maximum: int


def connack(body: bytes) -> Connected:
    """Read a CONNACK."""
    receive_maximum = 65535
    for name, value in _properties(body[2:]):
        if name == _RECEIVE_MAXIMUM:
            receive_maximum = int.from_bytes(value, "big")
    return Connected(bool(body[0] & 1), body[1], receive_maximum)


def puback(body: bytes) -> tuple[int, int]:
    """Packet id and reason of a PUBACK."""
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


class Packets:
    """Cuts what a broker sends into packets."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The packets that are complete now: type and body."""
        held = self._held
        held += data
        found, at = [], 0
        while (cut := _body_of(held, at)) is not None:
            begin, end = cut
            found.append((held[at] >> 4, bytes(held[begin:end])))
            at = end
        del held[:at]
        return found


def _body_of(held: bytearray, at: int) -> tuple[int, int] | None:
    size = shift = 0
    for begin in range(at + 1, len(held)):
        size |= (held[begin] & 0x7F) << shift
        shift += 7
        if not held[begin] & 0x80:
            end = begin + 1 + size
            return (begin + 1, end) if end <= len(held) else None
    return None


def _properties(data: bytes) -> Iterator[tuple[int, bytes]]:
    if not data:
        return
    total = shift = at = 0
    while True:
        total |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            break
    end = at + total
    while at < end:
        name = data[at]
        at += 1
        width = _WIDTHS.get(name)
        if width is not None:
            yield name, data[at : at + width]
            at += width
            continue
        for _ in range(2 if name == 0x26 else 1):
            at += 2 + int.from_bytes(data[at : at + 2], "big")
        yield name, b""


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, part = divmod(size, 128)
        out.append(part | 0x80 if size else part)
        if not size:
            return bytes(out)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
