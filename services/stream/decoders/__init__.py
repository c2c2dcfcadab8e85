"""Decoders: one MQTT payload -> its elements, each with a time, a sequence number and values.

A decoder is one small file here, named in a route (`decoder: json`), with real payloads in `schemas/examples`.
| name | payload |
|---|---|
| json | `{"ts": …, "seq": …, "values": {"temperature": 21.5}}`, an array of these, or flat `{"temperature": 21.5}` |
Guarantee: a decoder raises `Poison` and nothing else; a bad value or element inside a good message is data, no error.
"""

from typing import Any, Protocol

import msgspec


class Element(msgspec.Struct, gc=False):
    """What a device says of one moment.

    `values` are finite numbers by sensor; `odd` are entries that are no plain number (text, NaN, a boolean, a
    container). `entries` counts both; null is no entry. `claims` is whom the payload says it is from (`tenant`, `site`,
    `device`), where it says so.
    """

    ts: int | float | str | None
    seq: int | None
    values: dict[str, float]
    entries: int
    odd: dict[str, Any] | None = None
    claims: dict[str, Any] | None = None
    broken: str | None = None
    """Why this element (of an array) has no readings that can be used; `entries` is then 1."""


class Decoder(Protocol):
    """Turns one payload into elements."""

    def decode(self, payload: bytes) -> list[Element]:
        """The payload's elements, in its order; at least one.

        Raises:
            Poison: Nothing of the payload can be used.
        """
