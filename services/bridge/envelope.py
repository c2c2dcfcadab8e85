"""From an MQTT message to the record that carries it. Pure: no broker, no clock."""

import hashlib
import re
from typing import Final, NamedTuple

import msgspec

from schemas import raw, topics
from schemas.reasons import Reason
from schemas.telemetry import Status
from services.bridge.packets import Message, read_properties
from services.runtime.routes import Kind, Placed, Rejected, Routes

Headers = list[tuple[str, str | bytes | None]]

STATUS_BYTES: Final = 1024
_HEADER_BYTES: Final = 1024
"""Longest text from a device in a header: Kafka's limit is on the whole record."""

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NOT_DUP: Final = (raw.MQTT_DUP, b"0")
_DUP: Final = (raw.MQTT_DUP, b"1")

_encode = msgspec.json.Encoder().encode


class Record(NamedTuple):
    """What Kafka gets."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Envelope:
    """Seals messages: one record each, except a retained copy of what is no status, which is old news (None).

    `max_payload_bytes` is the longest payload that is taken whole; `prefix` stands before topic names.
    """

    def __init__(self, routes: Routes, *, max_payload_bytes: int, prefix: str = "") -> None:
        self._routes = routes
        self._max_payload_bytes = max_payload_bytes
        self._raw = prefix + topics.RAW
        self._status = prefix + topics.STATUS

    def seal(self, message: Message, received_us: int) -> Record | None:
        """The record of a message that the bridge saw at `received_us`. Never raises on what a device sent."""
        place = self._place(message.topic)
        if type(place) is Placed and place.route.kind is Kind.STATUS:
            return self._status_record(place, message, received_us)
        if message.retain:
            return None
        headers: Headers = [
            (raw.MQTT_TOPIC, message.topic[:_HEADER_BYTES]),
            _DUP if message.dup else _NOT_DUP,
            (raw.RECEIVED_AT, b"%d" % received_us),
        ]
        if message.properties:
            _add_properties(headers, message.properties)
        key = topics.UNPLACED_KEY
        if type(place) is Placed:
            key = place.key
            headers.append((raw.ROUTE, place.route.name))
        value = message.payload
        if len(value) > self._max_payload_bytes:
            headers += [
                (raw.REJECT, Reason.TOO_LARGE.value),
                (raw.REJECT_DETAIL, f"{len(value)} bytes; at most {self._max_payload_bytes}"),
                (raw.SIZE, b"%d" % len(value)),
                (raw.SHA256, hashlib.sha256(value).hexdigest()),
            ]
            value = value[: raw.TOO_LARGE_KEPT_BYTES]
        elif type(place) is Rejected:
            headers += [(raw.REJECT, place.reason.value), (raw.REJECT_DETAIL, place.detail)]
        return Record(self._raw, key, value, headers)

    def _place(self, topic: bytes) -> Placed | Rejected:
        try:
            return self._routes.place(topic.decode())
        except UnicodeDecodeError:
            return Rejected(Reason.BAD_TOPIC, "topic is no UTF-8")

    def _status_record(self, place: Placed, message: Message, received_us: int) -> Record:
        # The broker gives a message that it delivers again the same packet id; without one it delivers none again.
        delivery = f"m{message.mid}" if message.mid else str(received_us)
        digest = hashlib.blake2b(message.topic + b" " + message.payload, digest_size=8).hexdigest()
        status = Status(
            id=f"{place.tenant}/{place.device}:{delivery}:{digest}",
            tenant=place.tenant,
            site=place.site,
            device=place.device,
            text=message.payload[:STATUS_BYTES].decode("utf-8", errors="replace"),
            retained=message.retain,
            received_us=received_us,
        )
        return Record(self._status, place.key, _encode(status), [])


def _add_properties(headers: Headers, encoded: bytes) -> None:
    properties = read_properties(encoded)
    if properties.content_type is not None:
        headers.append((raw.CONTENT_TYPE, properties.content_type[:_HEADER_BYTES]))
    if properties.traceparent is not None and _TRACEPARENT.fullmatch(properties.traceparent):
        headers.append((raw.TRACEPARENT, properties.traceparent))
