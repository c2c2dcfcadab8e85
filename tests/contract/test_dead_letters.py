"""Each dead-letter reason from end to end: the example message through the bridge's envelope and the stream's core."""

from pathlib import Path

import msgspec
import pytest

from schemas import generate, topics
from schemas.reasons import Reason, Stage
from services.bridge.envelope import Envelope
from services.bridge.packets import Message
from services.runtime.routes import load_routes
from services.stream.arrival import RawRecord
from services.stream.device_types import DeviceType, DeviceTypes, SensorType
from services.stream.pipeline import Budgets, PartitionPipeline

EXAMPLES = Path(generate.__file__).parent / "examples" / "dead-letters"
NOON_US = 1_792_584_000_000_000
TYPES = {
    Reason.OUT_OF_RANGE: DeviceType(sensors={"temperature": SensorType(low=-40, high=150)}),
    Reason.LATE: DeviceType(accept_late=False),
}


class Example(msgspec.Struct):
    reason: Reason
    stage: Stage
    mqtt_topic: str
    payload: str | None = None
    payload_base64: bytes | None = None
    settings: dict[str, str] = {}
    goes_on: list[str] = []

    @property
    def bytes(self) -> bytes:
        return self.payload_base64 if self.payload is None else self.payload.encode()


def through(reason: Reason):
    """The example, and what the stream makes of it after the messages that go before it."""
    read = msgspec.json.decode((EXAMPLES / f"{reason}.json").read_bytes())
    settings = {name.partition("__")[2]: int(value) for name, value in read.get("settings", {}).items()}
    before = [(one["mqtt_topic"], one["payload"].encode()) for one in read.pop("before", [])]
    example = msgspec.convert(read, Example)
    envelope = Envelope(load_routes(None), max_payload_bytes=settings.get("MAX_PAYLOAD_BYTES", 256 * 1024))
    budgets = Budgets(settings.get("DEVICES_PER_TENANT", 100), settings.get("SENSORS_PER_DEVICE", 64))
    types = DeviceTypes({"generic": TYPES.get(reason, DeviceType())}, [])
    partition = PartitionPipeline(0, load_routes(None), types, budgets)
    outputs = []
    for offset, (topic, payload) in enumerate([*before, (example.mqtt_topic, example.bytes)]):
        sealed = envelope.seal(
            Message(topic.encode(), payload, 1, dup=False, retain=False), NOON_US + 2_000_000 + offset
        )
        headers = {name: value.encode() if isinstance(value, str) else value for name, value in sealed.headers}
        outputs = partition.process([RawRecord(offset, sealed.key, sealed.value, headers)])
    assert (partition.totals.missing_messages, partition.totals.missing_readings) == (0, 0)
    return example, outputs


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.SINK_REFUSED])
def test_the_example_of_each_reason_ends_as_it_says(reason):
    example, outputs = through(reason)
    (letter,) = [output.record for output in outputs if output.topic == topics.DEAD_LETTER]
    assert (letter.reason, letter.stage) == (reason, example.stage)
    assert letter.payload == example.bytes[:65_536]
    assert letter.size == len(example.bytes)
    assert letter.mqtt_topic == example.mqtt_topic
    assert letter.received_us // 1_000_000 == NOON_US // 1_000_000 + 2
    whose = (letter.tenant, letter.site, letter.device)
    if reason in (Reason.UNROUTABLE, Reason.BAD_TOPIC):
        assert whose == (None, None, None)
    else:
        assert whose == tuple(example.mqtt_topic.split("/")[2:5])
    stored = [record.values.keys() for topic, _, record in outputs if topic == topics.CLEAN]
    assert stored == ([set(example.goes_on)] if example.goes_on else [])


def test_300_kib_are_too_large_and_the_dead_letter_tells_their_size_and_digest():
    envelope = Envelope(load_routes(None), max_payload_bytes=256 * 1024)
    payload = b'{"values":{"a":"' + b"x" * 300 * 1024 + b'"}}'
    sealed = envelope.seal(
        Message(b"weir/v1/acme/north/pump-1/telemetry", payload, 1, dup=False, retain=False), NOON_US
    )
    headers = {name: value.encode() if isinstance(value, str) else value for name, value in sealed.headers}
    partition = PartitionPipeline(0, load_routes(None), DeviceTypes({}, []))
    ((topic, key, letter),) = partition.process([RawRecord(0, sealed.key, sealed.value, headers)])
    assert (topic, key, letter.reason, letter.stage) == (
        topics.DEAD_LETTER,
        b"acme/pump-1",
        Reason.TOO_LARGE,
        Stage.BRIDGE,
    )
    assert (letter.size, len(letter.payload), len(letter.sha256)) == (len(payload), 65_536, 64)
    assert (letter.tenant, letter.site, letter.device) == ("acme", "north", "pump-1")
