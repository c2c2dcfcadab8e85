"""Every message has its record; what cannot be placed or is too large says so in its headers."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import raw, topics
from schemas.telemetry import Status
from services.bridge.envelope import Envelope
from services.bridge.packets import Message
from services.runtime.routes import load_routes

TOPIC = b"weir/v1/acme/berlin/pump-1/telemetry"
STATUS = b"weir/v1/acme/berlin/pump-1/status"
AT = 1_700_000_000_000_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

envelope = Envelope(load_routes(None), max_payload_bytes=256 * 1024)


def message(topic: bytes = TOPIC, payload: bytes = b"{}", **more: object) -> Message:
    return Message(**({"topic": topic, "payload": payload, "mid": 1, "dup": False, "retain": False} | more))


def utf8(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def property_bytes(content_type: str, traceparent: str) -> bytes:
    return b"\x03" + utf8(content_type) + b"\x26" + utf8("traceparent") + utf8(traceparent)


def test_a_message_becomes_a_record_under_its_devices_key_with_its_payload_untouched():
    payload = b'{"values": {"temperature": NaN'
    record = envelope.seal(message(payload=payload), AT)

    assert (record.topic, record.key, record.value) == (topics.RAW, b"acme/pump-1", payload)
    assert dict(record.headers) == {
        raw.MQTT_TOPIC: TOPIC,
        raw.MQTT_DUP: b"0",
        raw.RECEIVED_AT: b"1700000000000000",
        raw.ROUTE: "telemetry",
    }


@pytest.mark.parametrize("topic", [TOPIC, b"weir/v1/nothing/here", b"operator-command"])
def test_nothing_that_a_client_sends_becomes_an_operator_s_command(topic: bytes):
    names = (raw.OPERATOR_COMMAND, raw.REPLAY_OF, "traceparent")
    user_properties = b"".join(b"\x26" + utf8(name) + utf8("1") for name in names)
    content_type = b"\x03" + utf8(raw.OPERATOR_COMMAND)
    sealed = envelope.seal(
        message(topic=topic, payload=b'{"command": "pause"}', properties=content_type + user_properties), AT
    )
    assert raw.OPERATOR_COMMAND not in dict(sealed.headers)
    assert raw.REPLAY_OF not in dict(sealed.headers)


def test_a_redelivery_says_so():
    assert (raw.MQTT_DUP, b"1") in envelope.seal(message(dup=True), AT).headers


def test_content_type_and_traceparent_are_passed_on():
    headers = dict(envelope.seal(message(properties=property_bytes("application/json", TRACE)), AT).headers)

    assert (headers[raw.CONTENT_TYPE], headers[raw.TRACEPARENT]) == (b"application/json", TRACE.encode())


def test_what_is_no_traceparent_is_left_out_and_a_long_content_type_cut():
    headers = dict(envelope.seal(message(properties=property_bytes("x" * 60_000, "hello")), AT).headers)

    assert raw.TRACEPARENT not in headers
    assert len(headers[raw.CONTENT_TYPE]) == 1024


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (b"weir/v1/nothing/here", "unroutable"),
        (b"weir/v1/acme/berlin/pump 1/telemetry", "bad_topic"),
        (b"weir/v1/acme/berlin/\xff\xfe/telemetry", "bad_topic"),
        (b"weir/v1/" + b"x" * 60_000, "bad_topic"),
    ],
)
def test_what_no_route_places_is_on_record_with_its_reason(topic: bytes, reason: str):
    record = envelope.seal(message(topic=topic, payload=b"hello"), AT)
    headers = dict(record.headers)

    assert (record.topic, record.key, record.value) == (topics.RAW, topics.UNPLACED_KEY, b"hello")
    assert headers[raw.REJECT] == reason
    assert headers[raw.REJECT_DETAIL]
    assert headers[raw.MQTT_TOPIC] == topic[:1024]
    assert raw.ROUTE not in headers


def test_a_payload_at_the_limit_is_taken_whole():
    payload = b"x" * (256 * 1024)
    record = envelope.seal(message(payload=payload), AT)

    assert record.value == payload
    assert raw.REJECT not in dict(record.headers)


def test_a_payload_over_the_limit_is_cut_and_says_what_it_was():
    payload = b"y" * (256 * 1024 + 1)
    record = envelope.seal(message(payload=payload), AT)
    headers = dict(record.headers)

    assert record.key == b"acme/pump-1"
    assert record.value == payload[: raw.TOO_LARGE_KEPT_BYTES]
    assert (headers[raw.REJECT], headers[raw.SIZE]) == ("too_large", b"262145")
    assert headers[raw.SHA256] == hashlib.sha256(payload).hexdigest()


def test_a_retained_copy_of_telemetry_is_old_news():
    assert envelope.seal(message(retain=True), AT) is None
    assert envelope.seal(message(topic=b"weir/v1/nothing", retain=True), AT) is None


def test_status_goes_to_its_own_topic_retained_or_not():
    for retain in (True, False):
        record = envelope.seal(message(topic=STATUS, payload=b"online", retain=retain), AT)

        assert (record.topic, record.key, record.headers) == (topics.STATUS, b"acme/pump-1", [])
        status = msgspec.json.decode(record.value, type=Status)
        assert status == Status(
            id=status.id,
            tenant="acme",
            site="berlin",
            device="pump-1",
            text="online",
            retained=retain,
            received_us=AT,
        )


def status_id(received_us: int = AT, **how) -> str:
    return msgspec.json.decode(envelope.seal(message(topic=STATUS, **how), received_us).value, type=Status).id


def test_a_status_that_the_broker_delivers_again_keeps_its_id_and_another_has_another():
    told = status_id(payload=b"online", mid=17)
    assert told.startswith("acme/pump-1:")
    assert status_id(AT + 5_000_000, payload=b"online", mid=17, dup=True) == told
    assert status_id(payload=b"online", mid=18) != told
    assert status_id(payload=b"offline", mid=17) != told


def test_without_a_packet_id_each_status_is_one_of_its_own():
    assert status_id(AT, payload=b"online", mid=0) != status_id(AT + 1, payload=b"online", mid=0)


def test_status_of_any_bytes_and_length_becomes_text():
    record = envelope.seal(message(topic=STATUS, payload=b"\xff" + b"z" * 300_000), AT)

    assert msgspec.json.decode(record.value, type=Status).text == "\ufffd" + "z" * 1023


def test_a_prefix_stands_before_both_topics():
    scratch = Envelope(load_routes(None), max_payload_bytes=1024, prefix="test-")

    assert scratch.seal(message(), AT).topic == "test-telemetry.raw"
    assert scratch.seal(message(topic=STATUS), AT).topic == "test-telemetry.status"


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=40))
def test_no_message_raises_and_none_that_is_not_retained_goes_missing(topic: bytes, payload: bytes, properties: bytes):
    record = envelope.seal(message(topic=topic, payload=payload, properties=properties), AT)

    assert record.value == payload
