"""State that cannot be read, on the real Kafka: refused, naming the command that gives the same state again."""

import signal
import uuid
from pathlib import Path

import msgspec
import pytest
from sink_process import DEADLINE_S, eventually
from stream_process import PARTITIONS, StreamProcess, committed, records_of
from unit.stream import checkpoint_recording as recordings

from schemas import topics
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings
from services.stream import recovery

DERIVED = (
    topics.CLEAN,
    topics.SCORES,
    topics.AGGREGATES,
    topics.ANOMALIES,
    topics.MODEL_EVENTS,
    topics.GAPS,
    topics.DEAD_LETTER,
)


def state_of(settings: KafkaSettings) -> dict[tuple[int, bytes], bytes]:
    found = {}
    for partition in range(PARTITIONS):
        records = clients.read_to_end(settings, topics.STREAM_STATE, [partition])
        restored, _ = recovery.merge((r.key(), r.value()) for r in records)
        found |= {(partition, key): value for key, value in restored.values.items()}
    return found


def published(settings: KafkaSettings) -> tuple[dict[tuple[str, str], bytes], int]:
    """What was published, by topic and id (a repeat must be the same to the byte), and how many records it were."""
    by_id: dict[tuple[str, str], bytes] = {}
    count = 0
    for topic in DERIVED:
        for record in records_of(settings, topic):
            name = (topic, msgspec.json.decode(record.value())["id"])
            assert by_id.setdefault(name, record.value()) == record.value()
            count += 1
    return by_id, count


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    own = KafkaSettings(bootstrap=kafka, topic_prefix=f"rebuild-{uuid.uuid4().hex[:8]}.", partitions=PARTITIONS)
    clients.ensure_topics(own)
    return own


def test_state_that_cannot_be_read_is_refused_and_rebuilt_as_it_was(settings: KafkaSettings, tmp_path: Path):
    raw = recordings.read(recordings.FOLDER / "0.1.0").raw
    producer = clients.producer(settings)
    for record in raw:
        producer.produce(
            settings.topic_prefix + topics.RAW, record.value, record.key, headers=list(record.headers.items())
        )
    assert producer.flush(30) == 0
    stream = StreamProcess(settings, tmp_path)
    stream.work_off(len(raw))
    state, (outputs, count) = state_of(settings), published(settings)

    partition, key = next(name for name in state if name[1] == b"acme/press-1")
    broken = (10**6).to_bytes(8, "big") + b"\x91\x09"
    producer.produce(settings.topic_prefix + topics.STREAM_STATE, broken, key, partition)
    assert producer.flush(30) == 0
    refused = stream.start()
    assert refused.wait(DEADLINE_S) == 78
    assert "weir stream --rebuild" in stream.log()

    assert stream.start("--rebuild").wait(DEADLINE_S) == 0
    assert state_of(settings) == {}
    assert sum(committed(settings, stream.group)) == 0
    stream.work_off(len(raw))
    assert state_of(settings) == state
    again, twice = published(settings)
    assert again == outputs
    assert twice == 2 * count


def test_state_is_not_taken_from_under_a_running_worker(settings: KafkaSettings, tmp_path: Path):
    stream = StreamProcess(settings, tmp_path)
    worker = stream.start()
    try:
        eventually("the worker has its partitions", lambda: stream.log().count("partition_assigned") == PARTITIONS)
        assert stream.start("--rebuild").wait(DEADLINE_S) == 78
        assert "stop all of them" in stream.log()
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
