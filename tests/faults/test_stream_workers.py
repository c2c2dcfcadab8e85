"""Stream workers that join, leave, are killed and frozen under load: 200,000 messages, and exact in the end.

The oracle is one plain pass of the pure pipeline over the same log. Everything that the workers wrote is compared with
it: each derived record by its id (repeats must be the same to the byte), each device's state, the committed offsets.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import KafkaException, TopicPartition

from schemas import raw, topics
from services.runtime import kafka as clients
from services.runtime.routes import load_routes
from services.runtime.settings import KafkaSettings
from services.stream import recovery
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline

MESSAGES = 200_000
DEVICES = 400
PER_SECOND = 3_000
PLAN = [
    (0, "start", "one"),
    (4_000, "start", "two"),
    (25_000, "term", "one"),
    (40_000, "start", "three"),
    (70_000, "kill", "two"),
    (80_000, "start", "four"),
    (110_000, "freeze", "three"),
    (150_000, "kill", "four"),
    (150_000, "start", "five"),
]
"""Messages committed so far, what happens then, to which worker."""
FROZEN_S = 15.0
"""Longer than the session of 6 s: another worker owns the partitions when the frozen one wakes up, and writes."""
COMPARED = (
    topics.CLEAN,
    topics.SCORES,
    topics.AGGREGATES,
    topics.ANOMALIES,
    topics.MODEL_EVENTS,
    topics.GAPS,
    topics.LEDGERS,
    topics.DEAD_LETTER,
)
DEADLINE_S = 420.0

_encode = msgspec.json.Encoder().encode


class Load(threading.Thread):
    """Produces the messages at a steady rate: mostly good, some broken, late, repeated, or leaving a gap in seq.

    A few are an operator's commands instead.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(name="load")
        self._producer = clients.producer(settings, queue_messages=300_000)
        self._topic = settings.topic_prefix + topics.RAW
        self._random = random.Random(7)

    def run(self) -> None:
        started = time.monotonic()
        base_us = time.time_ns() // 1000 - MESSAGES // DEVICES * 1_000_000
        sent = 0
        while sent < MESSAGES:
            due = min(MESSAGES, round((time.monotonic() - started) * PER_SECOND))
            for number in range(sent, due):
                self._send(number, base_us)
            sent = due
            self._producer.poll(0.02)
        assert self._producer.flush(60) == 0

    def _send(self, number: int, base_us: int) -> None:
        device, tick = f"d{number % DEVICES:04d}", number // DEVICES
        at_us, seq = base_us + tick * 1_000_000, tick
        draw = self._random.random()
        if 0.006 < draw < 0.012:
            at_us -= 15_000_000
        elif 0.012 < draw < 0.014:
            seq += 2
        elif 0.014 < draw < 0.018 and tick:
            at_us, seq = at_us - 1_000_000, seq - 1
        value = 20 + self._random.gauss(0, 1) + (40 if draw > 0.9995 else 0)
        payload = b'{"ts":%d,"seq":%d,"values":{"flow":%.6f,"level":%.6f}}' % (at_us // 1000, seq, value, -value)
        if draw < 0.002:
            payload = b"{broken"
        elif draw < 0.004:
            payload = payload.replace(b'"level":', b'"level":null,"bad":"x","level2":')
        headers: list[tuple[str, str | bytes | None]] = [
            ("mqtt-topic", f"weir/v1/t/s/{device}/telemetry".encode()),
            ("mqtt-dup", b"0"),
            ("received-at", str(base_us + tick * 1_000_000 + 5_000).encode()),
            ("route", b"telemetry"),
        ]
        if 0.018 < draw < 0.0185 and tick:
            payload = (b'{"command":"pause","for_s":20}', b'{"command":"re-baseline","sensor":"flow"}')[number % 2]
            headers = [(raw.OPERATOR_COMMAND, b"1"), headers[2]]
        self._producer.produce(self._topic, payload, f"t/{device}".encode(), number % DEVICES % 4, headers=headers)


class Workers:
    """Stream workers as processes."""

    def __init__(self, settings: KafkaSettings, group: str, folder: Path) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
            "WEIR_KAFKA__BOOTSTRAP": settings.bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
            "WEIR_STREAM__GROUP": group,
            "WEIR_STREAM__CHECKPOINT_S": "2",
            "WEIR_STREAM__SESSION_TIMEOUT_MS": "6000",
            "WEIR_STREAM__HTTP_PORT": "0",
            "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
        }
        self._folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.exit_codes: dict[str, int] = {}

    def start(self, name: str) -> None:
        log = (self._folder / f"{name}.log").open("ab")
        command = [sys.executable, "-m", "services.cli", "stream"]
        self.running[name] = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def do(self, what: str, name: str) -> None:
        if what == "start":
            self.start(name)
            return
        sent = {"term": signal.SIGTERM, "kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}[what]
        self.running[name].send_signal(sent)
        if what in ("term", "kill"):
            self.exit_codes[name] = self.running.pop(name).wait(60)

    def restart_the_dead(self) -> None:
        """What the supervisor does for a worker that ends itself (crash-only)."""
        for name, worker in list(self.running.items()):
            if worker.poll() is not None:
                self.start(name)

    def stop(self) -> None:
        for worker in self.running.values():
            worker.send_signal(signal.SIGTERM)
        for name, worker in self.running.items():
            self.exit_codes[name] = worker.wait(60)


def read_all(settings: KafkaSettings, topic: str) -> dict[int, list]:
    reader = clients.reader(settings, **{"isolation.level": "read_uncommitted"})
    name = settings.topic_prefix + topic
    ends = {p: end for p, (_, end) in clients.bounds(settings, topic, range(4)).items() if end}
    reader.assign([TopicPartition(name, p, 0) for p in ends])
    found = defaultdict(list)
    left = set(ends)
    while left:
        for message in reader.consume(10_000, 1.0):
            if message.error() is None:
                found[message.partition()].append(message)
        left = {p for p in left if reader.position([TopicPartition(name, p)])[0].offset < ends[p]}
    reader.close()
    return found


def committed(settings: KafkaSettings, group: str) -> list[int]:
    reader = clients.consumer(settings, group=group)
    name = settings.topic_prefix + topics.RAW
    try:
        offsets = reader.committed([TopicPartition(name, p) for p in range(4)], timeout=30)
    except KafkaException:
        return [0] * 4  # a new group's coordinator is not there yet
    finally:
        reader.close()
    return [max(0, at.offset) for at in offsets]


def wait_for_published(settings: KafkaSettings, more: int) -> None:
    """Until so many more records stand on telemetry.clean."""

    def count() -> int:
        return sum(end for _, end in clients.bounds(settings, topics.CLEAN, range(4)).values())

    deadline = time.monotonic() + 30
    enough = count() + more
    while count() < enough and time.monotonic() < deadline:
        time.sleep(0.02)


def ends_of(settings: KafkaSettings) -> list[int]:
    ends = clients.bounds(settings, topics.RAW, range(4))
    return [ends[p][1] for p in range(4)]


@pytest.fixture
def settings(kafka):
    made = KafkaSettings(bootstrap=kafka, topic_prefix=f"workers-{uuid.uuid4().hex[:8]}.", partitions=4)
    clients.ensure_topics(made)
    return made


def test_workers_that_come_and_go_and_die_and_freeze_stay_exact(settings, tmp_path):
    group = settings.topic_prefix + "stream"
    workers = Workers(settings, group, tmp_path)
    load = Load(settings)
    load.start()
    plan = list(PLAN)
    thaw_at = None
    deadline = time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            done = committed(settings, group)
            while plan and plan[0][0] <= sum(done):
                _, what, name = plan.pop(0)
                if what in ("kill", "freeze"):
                    # Right after a commit a kill would find nothing to repeat.
                    wait_for_published(settings, 300)
                workers.do(what, name)
                if what == "freeze":
                    thaw_at = time.monotonic() + FROZEN_S
            if thaw_at is not None and time.monotonic() > thaw_at:
                thaw_at = workers.do("thaw", "three")
            workers.restart_the_dead()
            if not plan and thaw_at is None and not load.is_alive() and done == ends_of(settings):
                break
            time.sleep(0.25)
    finally:
        load.join()
        workers.stop()
    assert committed(settings, group) == ends_of(settings), "the workers did not catch up"
    assert workers.exit_codes["one"] == 0
    assert workers.exit_codes["five"] == 0

    expected, ledgers, expected_state = one_plain_pass(settings)
    repeats = 0
    for topic in COMPARED:
        got: dict[str, bytes] = {}
        for messages in read_all(settings, topic).values():
            for message in messages:
                record_id = msgspec.json.decode(message.value())["id"]
                known = got.setdefault(record_id, message.value())
                repeats += known is not message.value()
                assert known == message.value(), f"{topic}: a repeat of {record_id} differs"
        assert len(expected[topic]) > 0, f"the load makes no {topic}"
        shown = {i for i, value in got.items() if b'"provisional":true' in value}
        if topic == topics.LEDGERS:
            shown = got.keys() - expected[topic].keys()
            assert all(got[i] == ledgers[i] for i in shown), "a silent device's ledger is one that it had"
        assert got.keys() - shown == expected[topic].keys(), topic
        assert all(got[i] == expected[topic][i] for i in expected[topic]), topic
    assert repeats > 0, "no kill made anything repeat: the faults did not bite"
    states = {}
    for partition, messages in read_all(settings, topics.STREAM_STATE).items():
        restored, _ = recovery.merge((m.key(), m.value()) for m in messages)
        states |= {(partition, key): value for key, value in restored.values.items() if b"|" not in key}
    assert states.keys() == expected_state.keys()
    assert [key for key in states if states[key] != expected_state[key]] == []


def one_plain_pass(
    settings: KafkaSettings,
) -> tuple[dict[str, dict[str, bytes]], dict[str, bytes], dict[tuple[int, bytes], bytes]]:
    """What must be published, each ledger that a device had on the way, and the state at the end."""
    expected: dict[str, dict[str, bytes]] = {topic: {} for topic in COMPARED}
    ledgers: dict[str, bytes] = {}
    state = {}
    for partition, messages in read_all(settings, topics.RAW).items():
        pipeline = PartitionPipeline(partition, load_routes(None), load_device_types(None))
        records = [RawRecord(m.offset(), m.key(), m.value(), dict(m.headers())) for m in messages]
        for record_in in records:
            for topic, _, record in pipeline.process([record_in]):
                value = _encode(record)
                assert expected[topic].setdefault(record.id, value) == value
            ledgers |= {ledger.record.id: _encode(ledger.record) for ledger in pipeline.idle_ledgers(2**62)}
        state |= {(partition, key): value for key, value in pipeline.take_changes() if b"|" not in key}
        assert pipeline.totals.missing_messages == pipeline.totals.missing_readings == 0
    return expected, ledgers, state
