"""The load generator's packets, wherever the broker's bytes break."""

import pytest

from bench.load import BrokerGone, count_pubacks, publish_packet
from services.bridge.packets import Splitter, read_publish


def test_its_publish_is_what_the_bridge_reads():
    for size in (0, 100, 20_000):
        (packet,) = Splitter().feed(publish_packet("weir/v1/a", 513, b"x" * size))
        message = read_publish(packet)
        assert (message.topic, message.mid, len(message.payload)) == (b"weir/v1/a", 513, size)


def test_pubacks_are_counted_wherever_the_bytes_break():
    stream = bytes.fromhex("40020001 4003000210 40020003 400400040000 40020005")
    found, rest = 0, b""
    for at in range(len(stream)):
        more, rest = count_pubacks(rest + stream[at : at + 1])
        found += more
    assert (found, rest) == (5, b"")
    assert count_pubacks(stream) == (5, b"")


def test_a_broker_that_says_something_else_is_told_of():
    with pytest.raises(BrokerGone, match="packet type 14"):
        count_pubacks(bytes.fromhex("e0018e40"))
