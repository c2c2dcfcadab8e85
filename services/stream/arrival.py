"""A record of telemetry.raw as it comes in: its bytes, its headers, and what is found out about it on its way.

Anybody who may write to the topic may have written it, so nothing in it is believed before it was looked at.
"""

import re
from typing import Final, NamedTuple

from schemas import raw
from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream.replays import replay_of

_LATEST_US: Final = 2**53
"""In the year 2255; up to here a double holds every microsecond."""
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_SHA256: Final = re.compile(rb"[0-9a-f]{64}")


class RawRecord(NamedTuple):
    """One record of telemetry.raw; see `schemas.raw` for the headers."""

    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


class Arrival:
    """One record on its way through the pipeline.

    `received_us` is 0 where the bridge's time cannot be read. `seen_before`: the device sent these bytes lately; None
    until somebody asked. `buried` counts the dead letters that its readings have become. `replay` is None but where a
    person sent a dead letter's message again.
    """

    __slots__ = ("buried", "headers", "offset", "received_us", "record", "replay", "seen_before", "value")

    def __init__(self, record: RawRecord) -> None:
        self.record = record
        self.offset, _, self.value, self.headers = record
        self.received_us = _received_us(self.headers)
        self.seen_before: bool | None = None
        self.buried = 0
        self.replay = replay_of(self.headers, self.received_us, self.value)

    @property
    def mqtt_topic(self) -> str:
        """The MQTT topic that the message came on."""
        return (self.record.headers.get(raw.MQTT_TOPIC) or b"").decode("utf-8", "replace")

    @property
    def is_marked_repeat(self) -> bool:
        """Whether the MQTT broker says that it delivered this message before."""
        return self.record.headers.get(raw.MQTT_DUP) == b"1"

    @property
    def refusal(self) -> Poison | None:
        """Why the bridge refused the message, where it did."""
        headers = self.record.headers
        reason = headers.get(raw.REJECT)
        if reason is None:
            return None
        detail = (headers.get(raw.REJECT_DETAIL) or b"").decode("utf-8", "replace")
        try:
            return Poison(Reason(reason.decode("ascii", "replace")), detail)
        except ValueError:
            return Poison(Reason.UNROUTABLE, f"refused by the bridge for a reason not known here: {reason!r:.80}")

    @property
    def size(self) -> int:
        """Bytes of the payload as it came."""
        told = self.record.headers.get(raw.SIZE)
        return int(told) if told is not None and _DIGITS.fullmatch(told) else len(self.record.value)

    @property
    def sha256(self) -> str | None:
        """Digest of the payload as it came, where the bridge cut it."""
        told = self.record.headers.get(raw.SHA256)
        return told.decode() if told is not None and _SHA256.fullmatch(told) else None


def _received_us(headers: dict[str, bytes]) -> int:
    try:
        received_us = int(headers[raw.RECEIVED_AT])
    except (KeyError, ValueError, TypeError):
        return 0
    return received_us if 0 < received_us <= _LATEST_US else 0
