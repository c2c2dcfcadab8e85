"""Which time a reading belongs to: the device's clock where it can be believed, else the bridge's.

| what the device sent | event time |
|---|---|
| nothing, 0, 1970 | received time |
| s, ms, µs, ns (int or float), ISO 8601 | converted, by magnitude |
| up to 5 min ahead of received / more ahead | as sent / received time, marked |
| older than 7 d, negative, not a time | `bad_time` |
"""

import math
from datetime import UTC, datetime
from typing import Any, Final

from schemas.reasons import Reason
from schemas.telemetry import TimeSource
from services.runtime.errors import Poison

SECOND_US: Final = 1_000_000
MAX_LEAD_US: Final = 5 * 60 * SECOND_US
MAX_AGE_US: Final = 7 * 86_400 * SECOND_US
_YEAR_1971_US: Final = 365 * 86_400 * SECOND_US
_YEAR_10000_US: Final = 253_402_300_800 * SECOND_US
_LONGEST_TEXT: Final = 40
# A member's name is looked up in its class each time, and takes as long as all else here.
_DEVICE: Final = TimeSource.DEVICE
_RECEIVED: Final = TimeSource.RECEIVED


def event_time(sent: Any, received_us: int) -> tuple[int, TimeSource]:
    """Event time in unix µs, and whose clock it is.

    Raises:
        Poison: `bad_time`.

    >>> event_time(1_700_000_000_000, 1_700_000_001_000_000)
    (1700000000000000, <TimeSource.DEVICE: 'device'>)
    """
    if sent is None:
        return received_us, _RECEIVED
    event_us = _by_magnitude(sent) if type(sent) is int else _to_us(sent)
    if event_us < _YEAR_1971_US:
        if event_us < 0:
            raise Poison(Reason.BAD_TIME, f"negative: {sent}")
        return received_us, _RECEIVED
    lead_us = event_us - received_us
    if lead_us > MAX_LEAD_US:
        if event_us >= _YEAR_10000_US:
            raise Poison(Reason.BAD_TIME, "not a time: after the year 9999")
        return received_us, TimeSource.RECEIVED_AHEAD
    if lead_us < -MAX_AGE_US:
        raise Poison(Reason.BAD_TIME, f"older than 7 days: {sent}")
    return event_us, _DEVICE


def _by_magnitude(sent: int) -> int:
    # The bounds lie in the year 5138 for the finer unit and in 1973 for the coarser one.
    if sent < 100_000_000_000:
        return sent * SECOND_US
    if sent < 100_000_000_000_000:
        return sent * 1000
    if sent < 100_000_000_000_000_000:
        return sent
    return sent // 1000


def _to_us(sent: Any) -> int:
    if isinstance(sent, float):
        if not math.isfinite(sent) or sent < 0:
            raise Poison(Reason.BAD_TIME, f"negative or not finite: {sent}")
        if sent < 1e11:
            return round(sent * 1e6)
        if sent < 1e14:
            return round(sent * 1e3)
        return _by_magnitude(int(sent))
    if isinstance(sent, str):
        return _from_text(sent)
    raise Poison(Reason.BAD_TIME, f"not a time: {type(sent).__name__}")


def _from_text(sent: str) -> int:
    if len(sent) > _LONGEST_TEXT or not sent.isascii():
        raise Poison(Reason.BAD_TIME, f"not a time: text of {len(sent)} characters")
    # Python reads "1712011412304" as 23:04 of a day in 1712; eight digits alone are a date in ISO 8601 too.
    if sent.isdigit() and len(sent) != 8:
        return _by_magnitude(int(sent))
    try:
        moment = datetime.fromisoformat(sent)
    except ValueError:
        try:
            return _to_us(float(sent))
        except ValueError:
            raise Poison(Reason.BAD_TIME, f"not ISO 8601: {sent!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds
