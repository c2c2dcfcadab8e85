"""A hostile client costs itself: what its neighbours send gives the same records, one by one, as without it."""

from collections.abc import Iterable

import msgspec
import pytest

from services.bridge.packets import Message
from services.stream.arrival import RawRecord
from services.stream.pipeline import Budgets, Output
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import NOON_US, SECOND_US, Fuzzer, encode, message, telemetry_topic

MINUTES = 10
NEIGHBOURS = [("acme", f"good-{i}") for i in range(4)] + [("other", "good-1")]


def sound(second: int, tenant: str, device: str) -> Message:
    """What a good neighbour sends each second: a spike now and then, a gap, a repeat."""
    at_us = NOON_US + second * SECOND_US
    level = 90.0 if second % 400 > 390 else 20.0 + (second * 7 + len(device)) % 10 / 10
    sent = {"ts": at_us, "seq": second + second // 100, "values": {"temperature": level, "flow": level / 2}}
    return message(telemetry_topic(device, tenant), encode(sent))


def key_of(made: Message) -> str:
    _, _, tenant, _, device, _ = made.topic.decode().split("/")
    return f"{tenant}/{device}"


def attack(name: str, second: int, fuzzer: Fuzzer) -> Iterable[Message | RawRecord]:
    topic = telemetry_topic("evil")
    at_us = NOON_US + second * SECOND_US
    match name:
        case "anything":
            for made, _ in fuzzer.inputs(20):
                yield made
        case "invented devices":
            for number in range(20):
                yield message(telemetry_topic(f"x{second}-{number}"), b'{"values":{"a":1}}')
        case "invented tenants":
            for number in range(20):
                yield message(telemetry_topic("x", f"t{second}-{number}"), b'{"values":{"a":1}}')
        case "invented sites and sensors":
            for number in range(20):
                sent = encode({"values": {f"s{second}-{number}": 1}, "ts": at_us + number})
                yield message(telemetry_topic("evil", site=f"site-{second}-{number}"), sent)
        case "clocks":
            for away_s in (86_400, -86_400, 299, -604_000, 0):
                yield message(topic, encode({"values": {"a": 1}, "ts": at_us + away_s * SECOND_US}))
        case "the neighbour's name":
            sent = {"values": {"temperature": 1e9}, "ts": at_us, "seq": 10**6, "device": "good-1", "tenant": "acme"}
            yield message(topic, encode(sent))
            yield message(b"weir/v1/acme/north/good-1/../good-1/telemetry", encode(sent))
            yield message(b"weir/v1/acme/north/good-1\x00/telemetry", encode(sent))


def outputs_of(name: str) -> dict[str, list[tuple[str, bytes, bytes]]]:
    """Each neighbour's records while the attack `name` goes on ("": none), and its alarms' events."""
    core = Core(partitions=1, budgets=Budgets(devices_per_tenant=50, sensors_per_device=64), check=False)
    fuzzer, got = Fuzzer(5), dict[str, list[Output]]()
    for second in range(MINUTES * 60):
        received_us = NOON_US + second * SECOND_US + 2000
        for tenant, device in NEIGHBOURS:
            made = sound(second, tenant, device)
            got.setdefault(key_of(made), []).extend(core.publish(made, received_us).outputs)
        for hostile in attack(name, second, fuzzer) if name and second % 5 == 0 else ():
            if isinstance(hostile, Message):
                core.publish(hostile, received_us)
            else:
                core.append(hostile)
    encoded = {key: [(o.topic, o.key, msgspec.json.encode(o.record)) for o in outs] for key, outs in got.items()}
    alarms = sorted(core.journal.raised)
    return encoded | {"alarms": [("", b"", who.encode()) for who in alarms if "/good-" in who]}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[tuple[str, bytes, bytes]]]:
    alone = outputs_of("")
    assert {topic for topic, _, _ in alone["acme/good-1"]} >= {"telemetry.anomalies", "telemetry.gaps"}
    return alone


@pytest.mark.parametrize(
    "name",
    [
        "anything",
        "invented devices",
        "invented tenants",
        "invented sites and sensors",
        "clocks",
        "the neighbour's name",
    ],
)
def test_a_neighbours_records_are_those_of_a_run_without_the_attacker(undisturbed, name):
    disturbed = outputs_of(name)
    for key, records in undisturbed.items():
        assert disturbed[key] == records, key
