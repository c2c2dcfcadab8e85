"""Dead letters in words, safe to print whatever a device wrote. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from services.console.dead_letters.advice import FIX
from services.console.dead_letters.letters import Held, Letters
from services.console.dead_letters.planning import Kept, Resend
from services.console.times import iso
from services.console.wording import preview, printable

_DUMPED: Final = 4096
"""Bytes of a payload that is no text which are shown."""
_SHOWN: Final = 20
"""Letters that are named one by one in a replay's account."""


def listed(letters: Letters, last: list[Held]) -> str:
    """Counts by reason, then a line each, newest last."""
    return "\n".join(printable(line) for line in _listed(letters, last))


def listed_json(letters: Letters, last: list[Held]) -> str:
    """The same for programs; payloads are base64."""
    return _json(
        {
            "total": letters.total,
            "replayed": letters.replayed,
            "by_reason": dict(letters.by_reason),
            "letters": [_plain(held) for held in last],
        }
    )


def shown(held: Held, others: list[Held]) -> str:
    """All of one letter; `others` are the further ones of the same message."""
    lines = [printable(line) for line in _shown(held, others)]
    return "\n".join([*lines, *payload_lines(held.letter.payload)])


def shown_json(held: Held, others: list[Held]) -> str:
    """The same for programs."""
    told = {"fix": FIX[held.letter.reason], "others": [other.letter.id for other in others]}
    return _json(_plain(held) | told)


def payload_lines(payload: bytes) -> Iterator[str]:
    """A payload as text where it is UTF-8, else as a hex dump; nothing in it can steer the terminal."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        for at in range(0, min(len(payload), _DUMPED), 16):
            row = payload[at : at + 16]
            readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            yield f"{at:08x}  {row.hex(' '):<47}  {readable}"
        if len(payload) > _DUMPED:
            yield f"… {len(payload) - _DUMPED:,} bytes more (--json has all)"
        return
    for line in text.split("\n"):
        yield printable(line.replace("\t", "  "))


def line_of(held: Held) -> str:
    """One letter as one line."""
    letter = held.letter
    whose = held.key if letter.device is None else f"{letter.tenant}/{letter.device}"
    sensor = f" {letter.sensor}" if letter.sensor else ""
    again = "" if held.replayed_us is None else "  [replayed]"
    why = f"{letter.reason} ({letter.stage}){sensor}: {letter.detail:.160}"
    return f"{iso(held.written_us)}  {letter.id}  {whose}  {why}{again} | {preview(letter.payload)}"


def planned(sent: list[Resend], kept: list[Kept], *, done: bool) -> str:
    """What a replay sends, or has sent, and what not."""
    return "\n".join(printable(line) for line in _planned(sent, kept, done=done))


def _planned(sent: list[Resend], kept: list[Kept], *, done: bool) -> Iterator[str]:
    letters = sum(len(record.letters) for record in sent)
    yield f"{'replayed' if done else 'to replay'}: dead letters {letters:,}, as messages {len(sent):,}"
    for record in sent[:_SHOWN]:
        ids = ", ".join(held.letter.id for held in record.letters[:5]) + (" …" if len(record.letters) > 5 else "")
        yield f"  {ids} -> {record.topic} {record.key.decode(errors='replace')}, {len(record.value):,} B"
    if len(sent) > _SHOWN:
        yield f"  and {len(sent) - _SHOWN:,} more"
    if kept:
        yield f"not replayed: {len(kept):,}"
    for letter, why in kept[:_SHOWN]:
        yield f"  {letter.id} ({letter.reason}): {why}"
    if len(kept) > _SHOWN:
        yield f"  and {len(kept) - _SHOWN:,} more"


def _listed(letters: Letters, last: list[Held]) -> Iterator[str]:
    counts = ", ".join(f"{reason} {count:,}" for reason, count in letters.by_reason.most_common())
    replayed = f", {letters.replayed:,} of them replayed" if letters.replayed else ""
    yield f"{letters.total:,} dead letters{replayed}" + (f": {counts}" if counts else "")
    if len(last) < letters.total:
        yield f"the last {len(last):,} (--last N shows more):"
    for held in last:
        yield line_of(held)


def _shown(held: Held, others: list[Held]) -> Iterator[str]:
    letter = held.letter
    whole = letter.sensor is None
    fields: Mapping[str, Any] = {
        "dead letter": letter.id,
        "reason": f"{letter.reason}, at stage {letter.stage}",
        "detail": letter.detail,
        "of": "the whole message" if whole else f"reading {letter.index}, sensor {letter.sensor or '(none)'}",
        "device": held.key if letter.device is None else f"{letter.tenant}/{letter.device} of site {letter.site}",
        "MQTT topic": letter.mqtt_topic or "-",
        "received": iso(letter.received_us),
        "written": iso(held.written_us),
        "stands on": f"{letter.topic} partition {letter.partition} offset {letter.offset}",
        "replayed": "no" if held.replayed_us is None else iso(held.replayed_us),
        "fix": FIX[letter.reason],
        "payload": f"{letter.size:,} B"
        + (f", cut to {len(letter.payload):,}, sha256 {letter.sha256}" if letter.sha256 is not None else ""),
    }
    for name, value in fields.items():
        yield f"{name:<12} {value}"
    if others:
        yield f"{'also dead':<12} " + ", ".join(f"{o.letter.id} {o.letter.sensor} ({o.letter.reason})" for o in others)


def _plain(held: Held) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(held.letter)
    return plain | {"written_us": held.written_us, "key": held.key, "replayed_us": held.replayed_us}


def _json(plain: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
