"""What is sent again for a dead letter, and why something is not. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from schemas import raw, topics
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason
from services.console.dead_letters.letters import Held
from services.runtime.routes import Kind, Placed, Routes
from services.stream.arrival import RawRecord

Headers = list[tuple[str, bytes]]

_SENT_AGAIN: Final = (topics.CLEAN, topics.SCORES)
"""What only the sink reads, and where a record never replaces a newer one."""
_BRIDGE_SAID: Final = (raw.REJECT, raw.REJECT_DETAIL)

Place = tuple[str, int, int]
"""Topic (without prefix), partition, offset of the record that a letter is about."""


class Resend(NamedTuple):
    """One record to send, for these letters."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    letters: list[Held]


class Kept(NamedTuple):
    """A letter that is not sent again, and why."""

    letter: DeadLetter
    why: str


def plan(
    chosen: Iterable[Held], originals: Mapping[Place, RawRecord], routes: Routes, *, again: bool
) -> tuple[list[Resend], list[Kept]]:
    """One record for each message of which letters were chosen, in the order of the letters.

    `originals`: the records as they stand on telemetry.raw, as far as they are still there. `again`: letters that were
    replayed before are sent too.
    """
    kept: list[Kept] = []
    messages: dict[Place, list[Held]] = {}
    for held in chosen:
        if held.replayed_us is not None and not again:
            kept.append(Kept(held.letter, "replayed already; --again sends it once more"))
        else:
            messages.setdefault(place_of(held.letter), []).append(held)
    sent: list[Resend] = []
    for place, letters in messages.items():
        record, why = _resend(letters, originals.get(place), routes)
        if record is None:
            kept += [Kept(held.letter, why) for held in letters]
        else:
            sent.append(record)
    return sent, kept


def place_of(letter: DeadLetter) -> Place:
    """Which record a letter is about."""
    return letter.topic, letter.partition, letter.offset


def _resend(letters: list[Held], original: RawRecord | None, routes: Routes) -> tuple[Resend | None, str]:
    letter = letters[0].letter
    if letter.reason is Reason.SINK_REFUSED:
        return _of_sink(letters)
    if original is not None and raw.OPERATOR_COMMAND in original.headers:
        return None, "it is an operator's command: give it again (`weir model`)"
    if letter.reason is Reason.TOO_LARGE and letter.sha256 is not None:
        return (
            None,
            f"the bridge kept {len(letter.payload):,} of its {letter.size:,} bytes: the device must send it again",
        )
    value = letter.payload if original is None else original.value
    if not value and letter.size:
        return None, "its bytes stand in the first dead letter of its message only: choose that one too"
    placed = routes.place(letter.mqtt_topic)
    if type(placed) is not Placed:
        return None, f"no route places {letter.mqtt_topic!r:.200} yet; see WEIR_BRIDGE__ROUTES_FILE"
    if placed.route.kind is not Kind.TELEMETRY:
        return None, f"route {placed.route.name} reads {letter.mqtt_topic!r:.200} as status now"
    headers = _first_headers(letter, original, placed)
    headers.append((raw.REPLAY_OF, letter.id.encode()))
    if all(held.letter.sensor is not None for held in letters):
        readings = sorted(held.letter.index for held in letters)
        headers.append((raw.REPLAY_READINGS, ",".join(map(str, readings)).encode()))
    return Resend(topics.RAW, placed.key, value, headers, letters), ""


def _first_headers(letter: DeadLetter, original: RawRecord | None, placed: Placed) -> Headers:
    told = {
        raw.MQTT_TOPIC: letter.mqtt_topic.encode(),
        raw.MQTT_DUP: b"0",
        raw.RECEIVED_AT: b"%d" % letter.received_us,
    }
    if original is not None:
        told |= original.headers
    told[raw.ROUTE] = placed.route.name.encode()
    again = (raw.REPLAY_OF, raw.REPLAY_READINGS)
    return [(name, value) for name, value in told.items() if name not in (*_BRIDGE_SAID, *again)]


def _of_sink(letters: list[Held]) -> tuple[Resend | None, str]:
    held = letters[0]
    letter = held.letter
    if letter.topic not in _SENT_AGAIN:
        return (
            None,
            f"a record of {letter.topic} is not sent again: it could overwrite a newer one, or raise an alarm twice",
        )
    if not letter.payload:
        return None, "its record is not in the dead letter"
    return Resend(letter.topic, held.key.encode(), letter.payload, [(raw.REPLAY_OF, letter.id.encode())], letters), ""
