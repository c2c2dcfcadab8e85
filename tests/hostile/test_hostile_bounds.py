"""Nothing grows with what a device invents: each memory that it could feed has an end."""

import sys

import pytest

from schemas import topics
from schemas.telemetry import Clean, TimeSource
from services.bridge.packets import Packet, Splitter
from services.console.live_state import MOST_DEVICES, LiveState
from services.runtime.routes import _CACHED_TOPICS, load_routes
from services.sink.lines import LineEncoder
from services.stream.dead_letters import REPEATED_PAYLOAD_BYTES
from services.stream.pipeline import Budgets
from services.stream.sequence import MAX_HOLES, RangeChange, Sequence
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import NOON_US, encode, message, telemetry_topic


def clean(device: str, sensor: str = "a") -> Clean:
    return Clean("x", "acme", "north", device, "generic", 1, 1, TimeSource.DEVICE, None, None, {sensor: 1.0})


def test_a_hole_that_is_filled_here_and_there_does_not_become_a_hole_for_each():
    sequence, changes = Sequence(), list[RangeChange]()
    sequence.see(0, 1, changes)
    sequence.see(1_000_000, 2, changes)
    for seq in range(2, 20_000, 2):
        sequence.see(seq, 1, changes)
    assert len(sequence.holes) <= MAX_HOLES


@pytest.mark.parametrize("steps", [(2,), (1_000_000, -999_998), (3, -1), (1_000_000, 5, -7), (64, -2, -2)])
def test_whatever_way_a_counter_jumps_its_holes_are_few(steps):
    sequence, seq = Sequence(), 0
    for turn in range(20_000):
        seq = max(0, seq + steps[turn % len(steps)])
        sequence.see(seq, 1 if turn % 3 else turn, [])
        assert len(sequence.holes) <= MAX_HOLES


def test_the_dead_letters_of_one_message_do_not_repeat_it_without_end():
    core = Core()
    payload = encode([{"values": {"a": 1}}, *[5] * 1900])
    assert len(payload) > REPEATED_PAYLOAD_BYTES
    for sent in (payload, encode([{"values": {"a": 1}}, *[5] * 200])):
        ended = core.publish(message(telemetry_topic("pump-9"), sent), NOON_US)
        letters = [output.record for output in ended.outputs if output.topic == topics.DEAD_LETTER]
        assert len(letters) >= 200
        assert letters[0].payload == sent
        assert sum(len(letter.payload) for letter in letters) <= 2 * max(REPEATED_PAYLOAD_BYTES, len(sent))


def test_topics_that_place_no_device_are_not_remembered():
    routes = load_routes(None)
    for number in range(1000):
        routes.place(f"weir/v1/acme/north/no id {number}/telemetry")
        routes.place(f"weir/v1/acme/north/{'x' * 300}{number}/telemetry")
    assert routes._cached.cache_info().currsize == 0


def test_devices_that_are_invented_push_each_other_out_of_the_bridges_memory():
    routes = load_routes(None)
    for number in range(_CACHED_TOPICS + 1000):
        routes.place(f"weir/v1/acme/north/{number}/telemetry")
    assert routes._cached.cache_info().currsize == _CACHED_TOPICS


@pytest.mark.parametrize(("devices", "sensors"), [(5000, 1), (1, 5000), (70, 70)])
def test_the_line_encoder_forgets_rather_than_grow(devices, sensors):
    encoder = LineEncoder(most_prefixes=1000)
    for device in range(devices):
        for sensor in range(sensors):
            (line,) = encoder.clean(clean(f"d{device}", f"s{sensor}")).lines
            assert line.startswith(b"readings,tenant=acme,site=north,device=d%d,sensor=s%d " % (device, sensor))
    known = encoder._prefixes.values()
    assert sum(map(len, known)) <= 1000


def test_the_live_table_forgets_the_device_that_it_met_first():
    state = LiveState()
    for number in range(MOST_DEVICES + 10):
        state.take(clean(f"d{number}"), 0.0)
    assert len(state.devices) == MOST_DEVICES
    assert "acme/d0" not in state.devices
    assert f"acme/d{MOST_DEVICES + 9}" in state.devices


def test_a_packet_in_many_pieces_is_joined_once(monkeypatch):
    """Joined at each piece, a packet of n pieces would cost n² / 2 of them."""
    body = b"x" * 1_000_000
    stream = b"\x30" + b"\xc0\x84\x3d" + body
    splitter, got, held = Splitter(), list[Packet](), []
    for at in range(0, len(stream), 1000):
        got += splitter.feed(stream[at : at + 1000])
        held.append(sys.getsizeof(splitter._rest))
    assert got == [Packet(0x30, body)]
    assert max(held) < 2000


def test_invented_tenants_do_not_fill_a_partition():
    core = Core(partitions=1, budgets=Budgets(10, 64, devices_per_partition=50), check=False)
    for number in range(500):
        core.publish(message(telemetry_topic(f"x{number % 3}", f"t{number}"), b'{"values":{"a":1}}'), NOON_US + number)
    assert len(core.pipelines[0]) <= 50 + 2
    assert core.pipelines[0].totals.dead_messages["device_budget"] >= 400
