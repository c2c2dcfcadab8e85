"""Packets agree with paho's own reading and writing, however the bytes arrive."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.bridge.packets import Message, Packet, Splitter, read_properties, read_publish, write_pubacks
from services.runtime.errors import Defect


def length_of(size: int) -> bytes:
    encoded = b""
    while True:
        size, low = divmod(size, 128)
        encoded += bytes([low | (0x80 if size else 0)])
        if not size:
            return encoded


def publish(message: Message) -> bytes:
    first = 0x30 | (0x08 if message.dup else 0) | (0x02 if message.mid else 0) | (0x01 if message.retain else 0)
    body = struct.pack("!H", len(message.topic)) + message.topic
    body += struct.pack("!H", message.mid) if message.mid else b""
    body += length_of(len(message.properties)) + message.properties + message.payload
    return bytes([first]) + length_of(len(body)) + body


def properties_of(content_type: str | None, user: list[tuple[str, str]]) -> bytes:
    made = Properties(PacketTypes.PUBLISH)
    made.MessageExpiryInterval = 60
    made.CorrelationData = b"\x00\xff"
    if content_type is not None:
        made.ContentType = content_type
    if user:
        made.UserProperty = user
    packed = made.pack()
    return packed[2 if packed[0] & 0x80 else 1 :]


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)
MESSAGES = st.builds(
    Message,
    topic=st.binary(min_size=1, max_size=40),
    payload=st.one_of(st.binary(max_size=60), st.just(b"x" * 20_000)),
    mid=st.integers(0, 65_535),
    dup=st.booleans(),
    retain=st.booleans(),
    properties=st.one_of(st.just(b""), st.builds(properties_of, TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=8))),
)


@given(st.lists(MESSAGES, max_size=8), st.lists(st.integers(1, 50_000), max_size=12))
def test_messages_come_out_as_sent_wherever_the_reads_fall(messages: list[Message], cuts: list[int]):
    stream = b"".join(publish(message) for message in messages)
    splitter, got, at = Splitter(), [], 0
    for cut in [*cuts, len(stream)]:
        got += [read_publish(packet) for packet in splitter.feed(stream[at : at + cut])]
        at += cut

    assert got == messages


@given(MESSAGES)
def test_publish_is_read_as_paho_reads_it(message: Message):
    (packet,) = Splitter().feed(publish(message))

    read, theirs = read_publish(packet), _packet.decode_publish(*packet, MQTTProtocolVersion.MQTTv5)

    assert (read.topic, read.payload, read.mid) == (theirs.topic, theirs.payload, theirs.mid)
    assert (read.dup, read.retain) == (theirs.dup, theirs.retain)
    kept = read_properties(read.properties)
    theirs_type = getattr(theirs.properties, "ContentType", None)
    assert kept.content_type == (None if theirs_type is None else theirs_type.encode())


def test_traceparent_is_found_among_other_properties():
    encoded = properties_of("application/json", [("a", "1"), ("traceparent", "00-ab-cd-01"), ("b", "2")])

    assert read_properties(encoded) == (b"application/json", b"00-ab-cd-01")


def test_a_property_that_ends_too_early_is_left_out():
    assert read_properties(b"\x03\x00\x09json") == (None, None)


@given(st.binary(max_size=60))
def test_malformed_properties_never_raise(encoded: bytes):
    read_properties(encoded)


@given(st.binary(max_size=30), st.integers(0x30, 0x3F))
def test_a_broken_publish_is_a_defect_and_nothing_else(body: bytes, first: int):
    try:
        message = read_publish(Packet(first, body))
    except Defect:
        return
    assert len(message.topic) + len(message.properties) + len(message.payload) < len(body)


def test_a_length_of_five_bytes_ends_the_stream():
    with pytest.raises(Defect, match="four bytes"):
        list(Splitter().feed(b"\x30\xff\xff\xff\xff\x7f"))


def test_qos_2_was_never_subscribed_to():
    with pytest.raises(Defect, match="QoS 2"):
        read_publish(Packet(0x34, b"\x00\x01a\x00\x01\x00"))


def test_pubacks_stand_in_the_given_order():
    assert write_pubacks([1, 65_535]) == b"\x40\x02\x00\x01" + b"\x40\x02\xff\xff"
