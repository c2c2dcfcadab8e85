"""Times as a person types them and reads them."""

import re
import time
from datetime import UTC, datetime
from typing import Final

from services.runtime.errors import ConfigurationError

_UNITS: Final = ((10**11, 1_000_000, 1), (10**14, 1000, 1), (10**17, 1, 1), (10**20, 1, 1000))
"""(numbers below this, times, by) to µs: s, ms, µs and ns, told apart by their size."""
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|min|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_FORMS: Final = "give ISO 8601 (2026-05-01T12:00:00Z) or unix time in s, ms or µs"


def parse_time(text: str) -> int:
    """Unix µs of ISO 8601 (without an offset: this machine's time zone), or of a unix time in s, ms, µs or ns.

    Raises:
        ConfigurationError: Neither of these.
    """
    stripped = text.strip()
    try:
        number = float(stripped)
    except ValueError:
        return _of_iso(stripped)
    for below, times, by in _UNITS:
        if 0 <= number < below:
            # Whole numbers stay whole: a float cannot hold today's ns.
            return int(stripped) * times // by if stripped.isdecimal() else round(number * times / by)
    raise ConfigurationError(f"{text!r} is no time: {_FORMS}")


def parse_moment(text: str, now_us: int) -> int:
    """Unix µs of a duration before now (`90s`, `15m`, `1h`, `2d`), or of a time as `parse_time` reads it.

    Raises:
        ConfigurationError: Neither of these.
    """
    duration = _DURATION.fullmatch(text.strip())
    if duration is None:
        return parse_time(text)
    return now_us - round(float(duration[1]) * _SECONDS[duration[2]] * 1e6)


def parse_duration(text: str) -> int:
    """µs of a duration: `90s`, `15m`, `2h`, `7d`.

    Raises:
        ConfigurationError: It is none, or none at all long.
    """
    duration = _DURATION.fullmatch(text.strip())
    us = 0 if duration is None else round(float(duration[1]) * _SECONDS[duration[2]] * 1e6)
    if us < 1_000_000:
        raise ConfigurationError(f"{text!r} is no duration of a second or more: give 90s, 15m, 2h or 7d")
    return us


def iso(us: int) -> str:
    """ISO 8601 in UTC, to the µs where there are any."""
    moment = datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000, tzinfo=None)
    return moment.isoformat(timespec="microseconds" if us % 1000 else "milliseconds") + "Z"


def ago(us: int, now_us: int) -> str:
    """How long ago, in the unit that fits: `12 s`, `3 min`, `5 h`, `2 d`."""
    seconds = (now_us - us) / 1e6
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def clock(us: int) -> str:
    """Time of day in this machine's time zone."""
    return time.strftime("%H:%M:%S", time.localtime(us / 1e6))


def _of_iso(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
        # A time zone's offset leads out of the calendar's first and last day.
        aware = parsed if parsed.tzinfo else parsed.astimezone()
        whole = aware.replace(microsecond=0)
        return int(whole.timestamp()) * 1_000_000 + aware.microsecond
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{text!r} is no time: {_FORMS}") from None
