"""Packed numbers: what is read is what was written, to the bit; what sensors tell takes few bytes."""

import math
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import examples

from services.stream.packed_numbers import Reader, pack_numbers, packed_length, put_count, unpack_numbers

decimals = st.builds(lambda whole, places: whole / 10**places, st.integers(-(10**9), 10**9), st.integers(0, 8))
anything = st.floats(allow_nan=False, allow_infinity=False)
edges = st.sampled_from(
    [0.0, -0.0, 5e-324, 1e100, -1e100, 2.0**53, 2.0**53 + 2, 2.0**31, -(2.0**31) - 1, 1e15, 9e15, 0.5]
)


def bits(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


@examples(600)
@given(st.lists(decimals, min_size=1, max_size=80) | st.lists(decimals | anything | edges, min_size=1, max_size=20))
def test_what_is_read_is_what_was_written_to_the_bit(numbers):
    packed = b"before" + pack_numbers(numbers) + b"after"
    assert bits(unpack_numbers(packed, 6, len(numbers))) == bits(numbers)
    assert packed[6 + packed_length(packed, 6, len(numbers)) :] == b"after"


def test_readings_of_few_decimals_take_two_bytes_each():
    numbers = random.Random(1)
    readings = [round(numbers.gauss(20, 0.5), 4) for _ in range(300)]
    assert len(pack_numbers(readings)) <= 10 + 2 * len(readings)


def test_equal_readings_take_no_room_each():
    assert len(pack_numbers([21.5] * 300)) == len(pack_numbers([21.5])) <= 3


def test_a_zero_below_zero_keeps_its_sign():
    first, second = unpack_numbers(pack_numbers([-0.0, 0.0]), 0, 2)
    assert (math.copysign(1, first), math.copysign(1, second)) == (-1, 1)


def test_no_list_takes_more_than_its_doubles_and_one_byte():
    assert len(pack_numbers([math.pi, math.e])) == 17


def test_decimals_that_nobody_writes_are_refused():
    with pytest.raises(ValueError, match="decimals"):
        unpack_numbers(b"\x70\x00", 0, 1)


@examples(200)
@given(st.lists(st.integers(0, 2**64)))
def test_counts_are_read_as_they_were_written(counts):
    packed = bytearray()
    for count in counts:
        put_count(packed, count)
    reader = Reader(bytes(packed))
    assert [reader.count() for _ in counts] == counts
    assert reader.at == len(packed)


def test_fewer_bytes_than_announced_are_refused():
    with pytest.raises(ValueError, match="3 bytes announced, 2 there"):
        Reader(b"ab").take(3)
