"""MQTT 5 packets as bytes: cutting a stream into packets, reading PUBLISH, writing PUBACKs. Pure.

paho reads one packet with at least three system calls and builds 27 property descriptions for each message: 38 CPU µs
a message, of which this leaves 3 (bench/stage_bridge.py). What is no PUBLISH still goes to paho.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from services.runtime.errors import Defect

PUBLISH: Final = 0x30
_PUBACK: Final = b"\x40\x02"

_CONTENT_TYPE: Final = 3
_USER_PROPERTY: Final = 38
_STRINGS: Final = frozenset((_CONTENT_TYPE, 8, 9))
_FIXED_BYTES: Final = {1: 1, 2: 4, 35: 2}
_SUBSCRIPTION_ID: Final = 11


class Message(msgspec.Struct, frozen=True, gc=False):
    """One PUBLISH as it came; `mid` is 0 for QoS 0, `properties` are the undecoded MQTT 5 properties."""

    topic: bytes
    payload: bytes
    mid: int
    dup: bool
    retain: bool
    properties: bytes = b""


class Packet(NamedTuple):
    """A whole packet: its first byte, and what follows the length."""

    first: int
    body: bytes


class Splitter:
    """Cuts a byte stream into packets, wherever the reads fall. `feed`, then take what is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._more: list[bytes] = []
        """What came since of a packet of which much is missing: joined once, when it is whole."""
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that `data` completes. The iterator must be taken to its end.

        Raises:
            Defect: A length that MQTT does not allow; the stream cannot be read any further.
        """
        if len(data) < self._missing:
            self._more.append(data)
            self._missing -= len(data)
            return
        buffer = b"".join((self._rest, *self._more, data)) if self._rest else data
        self._more, self._missing = [], 0
        start, end = 0, len(buffer)
        while end - start >= 2:
            length, body = buffer[start + 1], start + 2
            if length & 0x80:
                try:
                    length, body = _variable(buffer, start + 1)
                except IndexError:
                    if end - start > 4:
                        raise Defect("the MQTT broker sent a packet length of more than four bytes") from None
                    break
            if body + length > end:
                self._missing = body + length - end
                break
            yield Packet(buffer[start], buffer[body : body + length])
            start = body + length
        self._rest = buffer[start:]


def read_publish(packet: Packet) -> Message:
    """Read a PUBLISH.

    Raises:
        Defect: Lengths in it do not fit, or it is QoS 2, which the bridge never subscribes to.
    """
    first, body = packet
    try:
        topic_end = 2 + (body[0] << 8 | body[1])
        at = topic_end
        mid = 0
        if qos := first & 0x06:
            if qos != 0x02:
                raise Defect("the MQTT broker sent QoS 2 on a QoS 1 subscription")
            mid = body[at] << 8 | body[at + 1]
            at += 2
        length = body[at]
        at += 1
        if length & 0x80:
            length, at = _variable(body, at - 1)
    except IndexError:
        raise Defect("the MQTT broker sent a PUBLISH that ends before its payload begins") from None
    if at + length > len(body):
        raise Defect("the MQTT broker sent a PUBLISH whose properties are longer than itself")
    return Message(
        topic=body[2:topic_end],
        payload=body[at + length :],
        mid=mid,
        dup=first & 0x08 != 0,
        retain=first & 0x01 != 0,
        properties=body[at : at + length],
    )


class Properties(NamedTuple):
    """What the bridge passes on of a message's properties."""

    content_type: bytes | None = None
    traceparent: bytes | None = None


NO_PROPERTIES: Final = Properties()


def read_properties(encoded: bytes) -> Properties:
    """Read MQTT 5 PUBLISH properties; of malformed ones, what stands before the fault. Never raises."""
    content_type = traceparent = None
    at, end = 0, len(encoded)
    try:
        while at < end:
            kind = encoded[at]
            at += 1
            if kind in _FIXED_BYTES:
                at += _FIXED_BYTES[kind]
            elif kind in _STRINGS:
                value, at = _string(encoded, at)
                if kind == _CONTENT_TYPE:
                    content_type = value
            elif kind == _USER_PROPERTY:
                name, at = _string(encoded, at)
                value, at = _string(encoded, at)
                if name == b"traceparent":
                    traceparent = value
            elif kind == _SUBSCRIPTION_ID:
                _, at = _variable(encoded, at)
            else:
                break
    except IndexError:
        pass  # The broker has checked them; what it let through costs the message its properties, not its payload.
    return Properties(content_type, traceparent)


def write_pubacks(mids: Iterable[int]) -> bytes:
    """PUBACKs (success) for packet ids, in their order, as one run of bytes."""
    return b"".join([_PUBACK + mid.to_bytes(2, "big") for mid in mids])


def _string(encoded: bytes, at: int) -> tuple[bytes, int]:
    stop = at + 2 + (encoded[at] << 8 | encoded[at + 1])
    if stop > len(encoded):
        raise IndexError
    return encoded[at + 2 : stop], stop


def _variable(encoded: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        byte = encoded[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise IndexError
