"""What every decoder promises: elements or Poison for any bytes, nothing else; and which reason a bad payload gets."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas import generate
from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream.decoders import Element, json_payload
from services.stream.pipeline import DECODERS

DECODER_REASONS = {Reason.NOT_UTF8, Reason.MALFORMED, Reason.TOO_DEEP, Reason.WRONG_SHAPE}
MESSAGES = sorted((Path(generate.__file__).parent / "examples" / "messages").glob("*.json"))
LARGEST = 256 * 1024

every_decoder = pytest.mark.parametrize("decode", [decoder.decode for decoder in DECODERS.values()], ids=list(DECODERS))
decode_json = DECODERS["json"].decode


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


def check_elements(elements: list[Element]) -> None:
    """What the pipeline builds on."""
    assert elements
    for element in elements:
        if element.broken is not None:
            assert (element.entries, element.values, element.odd) == (1, {}, None)
            continue
        odd = element.odd or {}
        assert not element.values.keys() & odd.keys()
        assert element.entries == len(element.values) + len(odd)
        assert all(type(value) is float and math.isfinite(value) for value in element.values.values())
        assert None not in odd.values()
        assert element.seq is None or (type(element.seq) is int and 0 <= element.seq < 2**63)
        # What is published or buried of it must be writable: no half surrogate pairs.
        json.dumps([[*element.values, *odd], element.claims, str(element.ts)], ensure_ascii=False).encode()
    assert any(element.broken is None for element in elements)


def reason_of(payload: bytes, decode=decode_json) -> Reason | None:
    """Why the decoder refuses a payload; None when it takes it."""
    try:
        check_elements(decode(payload))
    except Poison as poison:
        assert poison.reason in DECODER_REASONS
        assert len(poison.detail) < 300
        poison.detail.encode()
        return poison.reason
    return None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.integers(-(10**400), 10**400),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ts", "seq", "values", "device", "a"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=12,
)
numbers = st.integers(-(2**70), 2**70) | st.floats()
texts = st.text(max_size=4) | st.just("pump-1") | st.just("2026-10-21T12:00:00Z")
scalars = st.none() | numbers | texts | st.booleans()
our_elements = st.fixed_dictionaries(
    {"values": st.dictionaries(st.sampled_from(["a", "b", "temp °C", "ts"]), scalars, max_size=3)},
    optional={"ts": scalars, "seq": scalars, "device": scalars, "more": json_values},
)


@every_decoder
@examples(200)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"")
@example(b"\xff")
@example(b"\x00")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 200_000)
@example(b'{"a":' * 50_000)
@example(b'{"values":{"a":1},"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example(b"9" * LARGEST)
@example(b'{"values":{"a":' + b"9" * 200_000 + b"}}")
@example(b'{"values":{"a":1},"ts":' + b"9" * 4200 + b"}")
@example(b'{"values":{"a":1},"seq":' + b"9" * 4200 + b"}")
@example(b'{"values":{"\\ud800":1}}')
@example(b'{"values":{"a":"\\udfff"}}')
@example(b'{"values":{"a":true},"ts":"2026-10-21\\ud80012:00:00"}')
@example(b'{"values":{"a":true},"device":"\\ud800"}')
@example(b"1e999999999")
def test_any_bytes_give_elements_or_poison(decode, payload):
    reason_of(payload, decode)


@every_decoder
@examples(100)
@given(st.sampled_from([path.read_bytes() for path in MESSAGES]), st.data())
def test_a_real_payload_with_damage_gives_elements_or_poison(decode, payload, data):
    position = data.draw(st.integers(0, len(payload) - 1))
    damage = data.draw(st.binary(max_size=3))
    reason_of(payload[:position] + damage + payload[position + data.draw(st.integers(0, 4)) :], decode)


# -------------------------------------------------------------------------------------------------------------- json


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_what_devices_may_send_is_read(path):
    elements = decode_json(path.read_bytes())
    check_elements(elements)
    sent = json.loads(path.read_bytes())
    for element, said in zip(elements, sent if isinstance(sent, list) else [sent], strict=True):
        assert (element.ts, element.seq) == (said.get("ts"), said.get("seq"))
        named = {key: value for key, value in said.items() if key not in ("ts", "seq", "device", "site", "tenant")}
        expected = {key: value for key, value in said.get("values", named).items() if value is not None}
        assert element.values | (element.odd or {}) == expected


def both(payload: bytes) -> tuple[list[Element] | Reason, list[Element] | Reason]:
    def outcome(decode):
        try:
            return decode(payload)
        except Poison as poison:
            return poison.reason

    return outcome(decode_json), outcome(json_payload._decode_patiently)


@examples(300)
@given(our_elements | st.lists(our_elements, max_size=4))
def test_the_fast_and_the_patient_path_say_the_same(content):
    fast, patient = both(json.dumps(content).encode())
    assert fast == patient


@pytest.mark.parametrize(
    "payload",
    [
        b'{"values":{}}',
        b'{"values":{"a":null}}',
        b'{"values":{"a":1,"a":2}}',
        b'{"values":{"a":1},"values":{"b":2}}',
        b'{"values":{"a":-0.0,"b":1E5,"c":1e-400}}',
        b'{"values":{"a":' + b"1" * 300 + b"}}",
        b'{"values":{"a":1},"seq":9223372036854775807}',
        b'{"values":{"a":1},"seq":9223372036854775808}',
        b'{"values":{"a":1},"seq":-1}',
        b'[{"values":{"a":1},"seq":-1},{"values":{"a":1}}]',
        b'[{"values":{"a":1},"seq":-1},{"values":{"a":1},"seq":-1}]',
        b"[]",
        b' \n\t{"values":{"\\u0061":1},"ts":"\\ud83d\\ude00"} ',
    ],
)
def test_the_two_paths_agree_where_it_is_easy_to_differ(payload):
    fast, patient = both(payload)
    assert fast == patient


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b" ", Reason.MALFORMED),
        (b"hello", Reason.MALFORMED),
        (b"temperature=21.5", Reason.MALFORMED),
        (b"<xml/>", Reason.MALFORMED),
        (b"{'values': {'a': 1}}", Reason.MALFORMED),
        (b'{"values": {"a": 1}', Reason.MALFORMED),
        (b'{"values": {"a": 1}} {"values": {"a": 1}}', Reason.MALFORMED),
        (b'{"values": {"a": 1},}', Reason.MALFORMED),
        (b'{"values": {"a": 01}}', Reason.MALFORMED),
        (b'{"values": {"a": 0x1F}}', Reason.MALFORMED),
        (b"\x00\x01\x02", Reason.MALFORMED),
        (b'\xef\xbb\xbf{"values": {"a": 1}}', Reason.MALFORMED),
        (b'{"values": {"\\ud800": 1}}', Reason.MALFORMED),
        (b'{"values": {"a": 1}, "ts": "\\udc00"}', Reason.MALFORMED),
        (b"\xff\xfe{\x00}\x00", Reason.NOT_UTF8),
        (b'{"values": {"temp\xe9rature": 1}}', Reason.NOT_UTF8),
        (b'{"values": {"a": "\xc3\x28"}}', Reason.NOT_UTF8),
        (b"\x1f\x8b\x08\x00gzip", Reason.NOT_UTF8),
        (b'"text"', Reason.WRONG_SHAPE),
        (b"21.5", Reason.WRONG_SHAPE),
        (b"NaN", Reason.WRONG_SHAPE),
        (b"null", Reason.WRONG_SHAPE),
        (b"true", Reason.WRONG_SHAPE),
        (b"[]", Reason.WRONG_SHAPE),
        (b"{}", Reason.WRONG_SHAPE),
        (b"[1, 2, 3]", Reason.WRONG_SHAPE),
        (b"[[], {}]", Reason.WRONG_SHAPE),
        (b'{"ts": 1792584000}', Reason.WRONG_SHAPE),
        (b'{"values": [1, 2]}', Reason.WRONG_SHAPE),
        (b'{"values": 5}', Reason.WRONG_SHAPE),
        (b'{"values": null}', Reason.WRONG_SHAPE),
        (b'{"values": "warm"}', Reason.WRONG_SHAPE),
        (b'{"values": {"a": 1}, "seq": -1}', Reason.WRONG_SHAPE),
        (b'{"values": {"a": 1}, "seq": 1.5}', Reason.WRONG_SHAPE),
        (b'{"values": {"a": 1}, "seq": "17"}', Reason.WRONG_SHAPE),
        (b'{"values": {"a": 1}, "seq": true}', Reason.WRONG_SHAPE),
        (b'{"values": {"a": 1}, "seq": 1e400}', Reason.WRONG_SHAPE),
    ],
)
def test_which_reason_a_payload_gets_of_which_nothing_can_be_used(payload, reason):
    assert reason_of(payload) is reason


@pytest.mark.parametrize("levels", [20, 100, 1000, 5000, 100_000])
@pytest.mark.parametrize(
    "around",
    [b"%b", b'{"values": {"a": %b}}', b'{"values": {"a": NaN}, "more": %b}', b'{"ts": %b, "values": {"a": 1}}'],
)
def test_deep_nesting_is_too_deep_wherever_it_is(levels, around):
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        assert reason_of(around % (opened * levels + b"1" + closed * levels)) is Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("value", "shown"),
    [(b"NaN", "nan"), (b"Infinity", "inf"), (b"-Infinity", "-inf"), (b"1e400", "inf"), (b'"warm"', "warm"),
     (b"[1]", "[1]"), (b'{"v": 1}', "{'v': 1}"), (b"true", "True"), (b"9" * 400, "inf")],
)  # fmt: skip
def test_a_bad_value_is_data_and_its_neighbours_go_on(value, shown):
    (element,) = decode_json(b'{"ts": 1792584000, "seq": 1, "values": {"bad": %b, "good": 2.5}}' % value)
    assert element.values == {"good": 2.5}
    assert {sensor: str(odd) for sensor, odd in element.odd.items()} == {"bad": shown}
    assert (element.ts, element.seq, element.entries) == (1_792_584_000, 1, 2)


def test_a_bad_element_leaves_the_others_of_its_array():
    broken, good = decode_json(b'[5, {"values": {"a": 1}}]')
    assert broken.broken
    assert good.values == {"a": 1.0}


def test_the_last_of_equal_keys_counts():
    assert decode_json(b'{"values": {"a": "x", "a": 1}}')[0].values == {"a": 1.0}
    assert decode_json(b'{"a": 1, "a": 2}')[0].values == {"a": 2.0}


def test_what_is_not_ours_is_left_alone():
    (element,) = decode_json(b'{"values": {"a": 1}, "firmware": "1.2", "position": {"x": [1, 2]}}')
    assert (element.values, element.odd) == ({"a": 1.0}, None)


@pytest.mark.parametrize(
    "ts", ["null", "0", "1792584000.25", '"2026-10-21T12:00:00Z"', "[]", "true", "NaN", '{"s": 1}']
)
def test_times_are_passed_on_as_they_were_sent_for_the_clock_rules_to_judge(ts):
    (element,) = decode_json(b'{"ts": %b, "values": {"a": 1}}' % ts.encode())
    assert str(element.ts) == str(json.loads(ts))


@pytest.mark.parametrize("form", [b'{"values": {"a": 1}, %b}', b'{"a": 1, %b}'])
@pytest.mark.parametrize("claim", ["tenant", "site", "device"])
def test_whom_a_payload_says_it_is_from_is_passed_on(form, claim):
    (element,) = decode_json(form % f'"{claim}": "other"'.encode())
    assert (element.claims, element.values) == ({claim: "other"}, {"a": 1.0})
    assert decode_json(form % f'"{claim}": null'.encode())[0].claims is None
    assert decode_json(form % f'"{claim}": 5'.encode())[0].claims == {claim: 5}
