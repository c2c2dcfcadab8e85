"""State that cannot be read, on the real Kafka: refused, naming the command that gives the same state again."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import KafkaException, TopicPartition
from sink_process import DEADLINE_S, eventually
from unit.stream import checkpoint_recording as recordings

from schemas import topics
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings
from services.stream import recovery

PARTITIONS = 4
DERIVED = (topics.CLEAN, topics.SCORES, topics.AGGREGATES, topics.ANOMALIES, topics.GAPS, topics.DEAD_LETTER)


class StreamProcess:
    """`weir stream` on topics of its own."""

    def __init__(self, settings: KafkaSettings, folder: Path) -> None:
        self._settings = settings
        self.group = f"{settings.topic_prefix}stream"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
            "WEIR_KAFKA__BOOTSTRAP": settings.bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
            "WEIR_STREAM__GROUP": self.group,
            "WEIR_STREAM__CHECKPOINT_S": "0.5",
            "WEIR_STREAM__SESSION_TIMEOUT_MS": "6000",
            "WEIR_STREAM__HTTP_PORT": "0",
            "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
            "WEIR_STREAM__DEVICES_PER_TENANT": "5",
            "WEIR_STREAM__SENSORS_PER_DEVICE": "4",
        }
        self._log = folder / "stream.log"

    def start(self, *options: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "services.cli", "stream", *options]
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def log(self) -> str:
        return self._log.read_text()

    def work_off(self, messages: int) -> None:
        """Run until everything is committed."""
        process = self.start()
        try:
            eventually("all is committed", lambda: sum(committed(self._settings, self.group)) == messages)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
        assert code == 0


def committed(settings: KafkaSettings, group: str) -> list[int]:
    reader = clients.consumer(settings, group=group)
    places = [TopicPartition(settings.topic_prefix + topics.RAW, p) for p in range(PARTITIONS)]
    try:
        return [max(0, at.offset) for at in reader.committed(places, timeout=10)]
    except KafkaException:
        return []  # a new group's coordinator is not there yet
    finally:
        reader.close()


def records_of(settings: KafkaSettings, topic: str) -> list:
    return list(clients.read_to_end(settings, topic, range(PARTITIONS)))


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
