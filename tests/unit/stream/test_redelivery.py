"""The memory of a device's last payloads."""

from hashlib import blake2b

from services.stream.redelivery import MEMORY, RecentPayloads

WIDTH = 6


def test_a_payload_is_known_the_second_time():
    recent = RecentPayloads()
    assert [recent.see(b"a"), recent.see(b"b"), recent.see(b"a"), recent.see(b"b")] == [False, False, True, True]


def test_as_many_as_can_be_in_flight_are_remembered_and_one_more_pushes_the_oldest_out():
    recent = RecentPayloads()
    payloads = [b"%d" % i for i in range(MEMORY)]
    for payload in payloads:
        assert not recent.see(payload)
    assert all(recent.see(payload) for payload in payloads)
    assert not recent.see(b"one more")
    assert len(recent.packed) == MEMORY * WIDTH
    assert all(recent.see(payload) for payload in payloads[1:])
    assert not recent.see(payloads[0])
    assert not recent.see(payloads[1])


def test_bytes_across_two_hashes_are_no_match():
    digest = blake2b(b"searched", digest_size=WIDTH).digest()
    across = b"\x00\x00\x00" + digest + b"\x00\x00\x00"
    assert not RecentPayloads(across).see(b"searched")
    assert RecentPayloads(across + digest).see(b"searched")


def test_written_and_read_it_remembers_and_forgets_alike():
    one = RecentPayloads()
    for i in range(MEMORY + 40):
        one.see(b"%d" % i)
    other = RecentPayloads(bytes(one.packed), one.following)
    for i in (39, 40, 41, 1000, 0, 41):
        assert other.see(b"%d" % i) == one.see(b"%d" % i)
    assert (other.packed, other.following) == (one.packed, one.following)
