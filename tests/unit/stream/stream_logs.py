"""Logs of every kind of message, for hypothesis: good ones, repeats, late ones, broken ones, and foreign junk."""

import json
from itertools import product

from hypothesis import strategies as st
from stream_builders import NOON_US, command, log, raw

from schemas import raw as headers
from services.stream.arrival import RawRecord

SENSORS = ["flow", "gas"]

# Each choice costs hypothesis as much as the core takes for a message: what can be written down as one choice is one.
_NUMBERS = [20.0, 20.0, 20.5, 21.0, 22.0, 1e9, 1e300]
_entries = st.dictionaries(
    st.sampled_from([*SENSORS, "third", "no name"]),
    st.sampled_from([*_NUMBERS, None, None, float("nan"), "warm", True, [1], [1]]),
    max_size=3,
)
_good = st.sampled_from(
    [{sensor: number} for sensor in SENSORS for number in _NUMBERS]
    + [dict(zip(SENSORS, pair, strict=True)) for pair in product(_NUMBERS, repeat=2)]
)
_SECONDS = [*range(121), *[-700_000, -4000, -30, 0, 700, 10**6] * 20]
_sent = st.sampled_from(
    [*[None, None, None, 0, -5, "never"] * 13] + [NOON_US + second * 1_000_000 for second in _SECONDS]
)
_seqs = st.sampled_from([None] * 8 + [*range(16), *range(8)] + [10**7, -1, "x"])


@st.composite
def _elements(draw):
    kind = draw(st.integers(0, 63))
    element = {"values": dict(draw(_good if kind % 4 else _entries))}
    if (ts := draw(_sent)) is not None:
        element["ts"] = ts
    if (seq := draw(_seqs)) is not None:
        element["seq"] = seq
    if kind // 4 == 0:
        element["device"] = draw(st.sampled_from(["pump-0", "other"]))
    return element


_payloads = st.one_of(
    *[_elements()] * 5,
    st.lists(_elements(), min_size=1, max_size=4),
    st.lists(_elements() | st.just(5), max_size=4),
    st.sampled_from([b"", b"no json", b"\xff", b"[1,2]", b"{}", b'"x"', b"[" * 5000]),
)
_junk = st.fixed_dictionaries(
    {},
    optional={
        headers.RECEIVED_AT: st.sampled_from([b"", b"x", b"-5", b"9" * 30, None]),
        headers.MQTT_TOPIC: st.sampled_from([b"", b"\xff", b"weir/v1/acme", b"weir/v1/a cme/n/p/telemetry", None]),
        headers.REJECT: st.sampled_from([b"unroutable", b"too_large", b"of_the_future", b"\xff"]),
        headers.SIZE: st.sampled_from([b"300000", b"many", b"-1", None]),
        headers.SHA256: st.sampled_from([b"\xff", b"0" * 64]),
    },
)
_senders = st.sampled_from(
    list(product(["pump-0", "pump-1", "pump-2"], ["north", "north", "south"], [False] * 4 + [True]))
)
_keys = st.sampled_from([b"", b"\xff/\xff", b"$/$", b"acme/$", b"acme/pump-0|10|0", b"no slash", b"acme/pump-1"])


_said = st.fixed_dictionaries(
    {"command": st.sampled_from(["pause", "resume", "re-baseline", "explode"])},
    optional={"sensor": st.sampled_from([None, *SENSORS, "third"]), "for_s": st.sampled_from([1, 5, 60, -1])},
)


@st.composite
def _commands(draw, received: int) -> RawRecord:
    device = draw(st.sampled_from(["pump-0", "pump-1", "nobody"]))
    return command(draw(_said), received=received, device=device)


@st.composite
def _records(draw, received: int, earlier: list[RawRecord]) -> RawRecord:
    kind = draw(st.integers(0, 19))
    if earlier and kind < 4:
        again = draw(st.sampled_from(earlier))
        marked = {headers.MQTT_DUP: draw(st.sampled_from([b"0", b"1"]))}
        return again._replace(headers=again.headers | marked)
    if kind == 6:
        return draw(_commands(received))
    payload = draw(_payloads)
    device, site, dup = draw(_senders)
    record = raw(
        payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
        received=received,
        device=device,
        site=site,
        dup=dup,
    )
    if kind == 4:
        record = record._replace(headers=record.headers | draw(_junk))
    if kind == 5:
        record = record._replace(key=draw(_keys))
    return record


@st.composite
def logs(draw, longest: int = 40) -> list[RawRecord]:
    """A partition's log; the bridge's clock goes on by a few seconds from message to message."""
    received, records = 0, []
    for _ in range(draw(st.integers(1, longest))):
        received += draw(st.sampled_from([0, 1, 1, 5, 30]))
        records.append(draw(_records(received, records)))
    return log(records)
