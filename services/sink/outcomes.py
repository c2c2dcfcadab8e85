"""What InfluxDB's answer to a write means for us: one decision table, pure.

| answer | verdict | what follows |
|---|---|---|
| 2xx | STORED | go on |
| 5xx, 408, 429, no answer | LATER | wait (`Retry-After` where given), then the same lines again |
| 413 | TOO_LARGE | halve |
| 400, 422 | REFUSED | halve until the guilty lines stand alone; they may have been written in part |
| 401, 403, 404, and the rest | MISCONFIGURED | as LATER, and say once what a person must mend |
"""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

_MOST_RETRY_AFTER_S: Final = 300.0
_KEPT: Final = 500
"""Characters of an error that go into logs and dead letters."""
_DROPPED: Final = re.compile(r"partial write:.* dropped=(\d+)", re.DOTALL)


class Verdict(StrEnum):
    """What to do about an answer."""

    STORED = "stored"
    LATER = "later"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


class Outcome(NamedTuple):
    """A verdict, with what InfluxDB said.

    `dropped` is how many lines it claims not to have written; where these are all, each of them is guilty.
    """

    verdict: Verdict
    why: str = ""
    retry_after_s: float | None = None
    dropped: int | None = None


STORED: Final = Outcome(Verdict.STORED)


def outcome_of(status: int, headers: Mapping[str, str], body: bytes | str, now: datetime) -> Outcome:
    """The outcome of a write that was answered with this; `now` (with a time zone) is for a `Retry-After` date."""
    if 200 <= status < 300:
        return STORED
    message = message_of(body)
    why = f"HTTP {status}: {message[:_KEPT]}"
    if status in (400, 422):
        dropped = _DROPPED.search(message)
        return Outcome(Verdict.REFUSED, why, dropped=int(dropped[1]) if dropped else None)
    if status == 413:
        return Outcome(Verdict.TOO_LARGE, why)
    retry_after_s = _seconds(_header(headers, "retry-after"), now)
    if status >= 500 or status in (408, 429):
        return Outcome(Verdict.LATER, why, retry_after_s)
    return Outcome(Verdict.MISCONFIGURED, why, retry_after_s)


def message_of(body: bytes | str) -> str:
    """What an error's body says: 2.x has `message`, 1.x has `error`; else all of it."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = None
    if isinstance(said, dict):
        for key in ("message", "error"):
            if isinstance(said.get(key), str) and said[key]:
                return str(said[key])
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    return " ".join(text.split())


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _seconds(retry_after: str, now: datetime) -> float | None:
    """Seconds or an HTTP date; what can't be read counts as not said, and nobody may ask for more than 5 min."""
    try:
        asked = float(retry_after)
    except ValueError:
        try:
            asked = (parsedate_to_datetime(retry_after) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    if not asked >= 0.0:
        return 0.0
    return min(asked, _MOST_RETRY_AFTER_S)
