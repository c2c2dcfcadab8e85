"""An operator's command, from `weir model` through the real Kafka to the stream and its events."""

import signal
import uuid
from pathlib import Path

import msgspec
import pytest
from sink_process import DEADLINE_S, eventually
from stream_process import PARTITIONS, StreamProcess, committed, records_of
from unit.stream.stream_builders import message

from schemas import topics
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings

DEVICE = "acme/pump-1"
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    own = KafkaSettings(bootstrap=kafka, topic_prefix=f"model-{uuid.uuid4().hex[:8]}.", partitions=PARTITIONS)
    clients.ensure_topics(own)
    return own


def send(settings: KafkaSettings, first: int, last: int) -> None:
    producer = clients.producer(settings)
    for second in range(first, last):
        record = message(second, second, flow=20.0 + second % 7, gas=5.0 + second % 3)
        headers = list(record.headers.items())
        producer.produce(settings.topic_prefix + topics.RAW, record.value, record.key, headers=headers)
    assert producer.flush(30) == 0


def told(settings: KafkaSettings, topic: str) -> list[dict]:
    return [msgspec.json.decode(record.value()) for record in records_of(settings, topic)]


def taken(settings: KafkaSettings, stream: StreamProcess, records: int) -> None:
    eventually(f"{records} records are taken", lambda: sum(committed(settings, stream.group)) == records)


def test_a_person_pauses_and_resumes_a_device_and_its_ledger_takes_no_notice(settings: KafkaSettings, tmp_path: Path):
    stream = StreamProcess(settings, tmp_path)
    send(settings, 0, 150)
    worker = stream.start()
    try:
        taken(settings, stream, 150)
        assert "nothing was checkpointed of a device 'acme/pump-9'" in stream.command(
            "model", "pause", "acme/pump-9", code=78
        )
        assert "it has flow, gas" in stream.command("model", "pause", DEVICE, "--sensor", "volume", code=78)
        assert "no duration" in stream.command("model", "pause", DEVICE, "--for", "soon", code=78)
        assert len(records_of(settings, topics.RAW)) == 150
        stream.command("model", "pause", DEVICE, "--reason", "new bearing")
        taken(settings, stream, 151)
        send(settings, 150, 160)
        taken(settings, stream, 161)
        [pause] = msgspec.json.decode(stream.command("model", "list", "--json"))
        assert pause == {"device": DEVICE, "sensor": "", "until_us": None}
        stream.command("model", "resume", DEVICE)
        taken(settings, stream, 162)
        send(settings, 160, 170)
        taken(settings, stream, 172)
        shown = stream.command("model", "show", DEVICE)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    assert "nothing is paused" in shown
    assert "(new bearing)" in shown
    assert [(e["kind"], e["sensor"]) for e in told(settings, topics.MODEL_EVENTS)] == [("paused", ""), ("resumed", "")]
    states = [score["state"] for score in told(settings, topics.SCORES)]
    assert states[145:] == ["ready"] * 5 + ["paused"] * 10 + ["ready"] * 10
    ledger = msgspec.json.decode(stream.command("status", "--device", DEVICE, "--json"))["devices"][0]
    assert (ledger["received"], ledger["decoded"], ledger["dead_messages"]) == (170, 170, {})
    assert told(settings, topics.DEAD_LETTER) == []
