"""Alerts workers as processes of their own, what they read, and a webhook that they post to; fixtures of both.

A plugin of tests/conftest.py: integration and fault tests take `alerts` and `receiver` from here.
"""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError, TopicPartition

from schemas import topics
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.telemetry import Aggregate, Severity
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings

DEADLINE_S = 90.0
SECOND_US = 1_000_000
RULES = """
rules:
  - name: open
    source: anomalies
    when: severity in ["warning", "critical"]
  - name: open-long
    source: anomalies
    when: severity in ["warning", "critical"]
    for: 60s
    channels: [log]
  - name: hot
    source: aggregates
    when: mean > 80.0
    channels: [log]
"""


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.05)


class Receiver:
    """A webhook: remembers what was posted, and answers what it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, AlarmEvent, float]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 200:
                    event = msgspec.json.decode(body, type=AlarmEvent)
                    receiver.posts.append((self.headers["Idempotency-Key"], event, time.monotonic()))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=s3cret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alerts:
    """Worlds of one test: its own topics, group, rules; and workers to start and kill."""

    def __init__(self, bootstrap: str, mqtt: tuple[str, int], folder: Path, webhook: str) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:8]}."
        self.settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=self.prefix)
        self.partitions = clients.ensure_topics(self.settings, deadline_s=DEADLINE_S)
        self._producer = clients.producer(self.settings)
        self._reader = clients.reader(self.settings)
        self._folder = folder
        (folder / "rules").mkdir()
        (folder / "rules" / "rules.yaml").write_text(RULES)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")} | {
            "WEIR_KAFKA__BOOTSTRAP": bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": self.prefix,
            "WEIR_MQTT__HOST": mqtt[0],
            "WEIR_MQTT__PORT": str(mqtt[1]),
            "WEIR_ALERTS__GROUP": f"{self.prefix}alerts",
            "WEIR_ALERTS__RULES_DIR": str(folder / "rules"),
            "WEIR_ALERTS__WEBHOOK_URL": webhook,
            "WEIR_ALERTS__HTTP_PORT": "0",
            "WEIR_ALERTS__SESSION_TIMEOUT_MS": "6000",
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        log = (self._folder / f"worker-{len(self.workers)}.log").open("wb")
        code = (
            "from services.alerts.service import run; from services.runtime import process; process.run('alerts', run)"
        )
        worker = subprocess.Popen([sys.executable, "-c", code], env=self._environment, stdout=log, stderr=log)
        log.close()
        self.workers.append(worker)
        return worker

    def log_of(self, number: int) -> str:
        return (self._folder / f"worker-{number}.log").read_text()

    def all_logs(self) -> str:
        return "\n".join(self.log_of(n) for n in range(len(self.workers)))

    def write(self, *records: Anomaly | Aggregate) -> None:
        for record in records:
            topic = topics.ANOMALIES if isinstance(record, Anomaly) else topics.AGGREGATES
            key = topics.key_of(record.tenant, record.device)
            self._producer.produce(self.prefix + topic, key=key, value=msgspec.json.encode(record))
        assert self._producer.flush(DEADLINE_S) == 0

    def wait_for_next_event(self) -> None:
        """Return as soon as another event stands on its topic: its worker has not yet recorded that it wrote it."""
        ends = clients.bounds(self.settings, topics.ALERT_EVENTS, range(self.partitions))
        self._reader.assign(
            [TopicPartition(self.prefix + topics.ALERT_EVENTS, number, end) for number, (_, end) in ends.items()]
        )
        eventually(
            lambda: any(m.error() is None for m in self._reader.consume(1, 0.2)), "another event stands on its topic"
        )
        self._reader.unassign()

    def events(self) -> list[AlarmEvent]:
        """All of alerts.events, in order within a device."""
        return [msgspec.json.decode(value, type=AlarmEvent) for _, value in self.records(topics.ALERT_EVENTS)]

    def records(self, topic: str) -> list[tuple[int, bytes]]:
        """Partition and value of all records of a topic, in order within each partition."""
        left, found = set(range(self.partitions)), []
        self._reader.assign([TopicPartition(self.prefix + topic, number, 0) for number in left])
        deadline = time.monotonic() + DEADLINE_S
        while left:
            assert time.monotonic() < deadline
            for message in self._reader.consume(500, 0.2):
                if message.error() is None:
                    found.append((message.partition(), message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
        self._reader.unassign()
        return found

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait(DEADLINE_S)
        self._reader.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def alerts(kafka: str, mosquitto: tuple[str, int], tmp_path: Path, receiver: Receiver) -> Iterator[Alerts]:
    made = Alerts(kafka, mosquitto, tmp_path, receiver.url)
    yield made
    made.close()


def anomaly(device: str, phase: str, at_s: float, opened_s: float = 1000.0, revision: int = 0) -> Anomaly:
    opened_us = round(opened_s * SECOND_US)
    return Anomaly(
        id=f"acme/{device}:{opened_us}:{revision}",
        anomaly=f"acme/{device}:{opened_us}",
        revision=revision,
        phase=AnomalyPhase(phase),
        tenant="acme",
        site="berlin",
        device=device,
        device_type="pump",
        opened_us=opened_us,
        event_us=round(at_s * SECOND_US),
        end_us=None,
        score=0.8,
        peak=0.8,
        severity=Severity.WARNING,
        culprit="temperature",
        culprits=[],
        sentence="temperature 95, expected 20 to 40",
    )


def window(device: str, start_s: float, mean: float) -> Aggregate:
    start_us = round(start_s * SECOND_US)
    values = dict.fromkeys(("mean", "min", "max", "p50", "p95", "first", "last"), mean)
    return Aggregate(
        id=f"acme/{device}:t:{start_us}",
        tenant="acme",
        site="berlin",
        device=device,
        sensor="temperature",
        start_us=start_us,
        width_us=10 * SECOND_US,
        count=10,
        std=1.0,
        revision=0,
        **values,
    )
