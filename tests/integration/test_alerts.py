"""Alerts with the real Kafka and Mosquitto, and an HTTP server that people's webhooks stand for."""

import os
import signal
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
import paho.mqtt.client as paho
import pytest
from confluent_kafka import KafkaError, TopicPartition
from paho.mqtt.enums import CallbackAPIVersion

from schemas import topics
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.telemetry import Aggregate, Severity
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings

DEADLINE_S = 90.0
TURNS = 3
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

    def events(self) -> list[AlarmEvent]:
        """All of alerts.events, in order within a device."""
        return [msgspec.json.decode(value, type=AlarmEvent) for value in self._values(topics.ALERT_EVENTS)]

    def _values(self, topic: str) -> list[bytes]:
        left, values = set(range(self.partitions)), []
        self._reader.assign([TopicPartition(self.prefix + topic, number, 0) for number in left])
        deadline = time.monotonic() + DEADLINE_S
        while left:
            assert time.monotonic() < deadline
            for message in self._reader.consume(500, 0.2):
                if message.error() is None:
                    values.append(message.value())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
        self._reader.unassign()
        return values

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


def life(device: str) -> list[Anomaly]:
    return [anomaly(device, "opened", 1000), anomaly(device, "closed", 1040, revision=1)]


def of_rule(events: list[AlarmEvent], rule: str) -> list[AlarmEvent]:
    return [event for event in events if event.rule == rule]


def test_an_anomaly_reaches_the_topic_the_webhook_and_mqtt_once_each(
    alerts: Alerts, receiver: Receiver, mosquitto: tuple[str, int]
) -> None:
    device = f"pump-{uuid.uuid4().hex[:6]}"
    heard: list[tuple[str, AlarmEvent, bool]] = []
    subscribed = threading.Event()
    listener = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    listener.on_connect = lambda c, *_: c.subscribe("weir-out/v1/#", qos=1)
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.on_message = lambda _c, _u, m: heard.append(
        (m.topic, msgspec.json.decode(m.payload, type=AlarmEvent), m.retain)
    )
    listener.connect(*mosquitto)
    listener.loop_start()
    assert subscribed.wait(DEADLINE_S)
    worker = alerts.start()
    alerts.write(*life(device))

    def mine() -> list[tuple[str, AlarmEvent, bool]]:
        return [h for h in heard if h[1].device == device]

    eventually(lambda: len(mine()) >= 2 and len(receiver.posts) >= 2, "two notifications on each channel")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(DEADLINE_S) == 0, alerts.log_of(0)
    events = alerts.events()
    assert [event.phase for event in events] == ["raised", "cleared"]
    assert [event for _, event, _ in receiver.posts] == events
    assert [key for key, _, _ in receiver.posts] == [event.id for event in events]
    assert mine() == [(f"weir-out/v1/acme/berlin/{device}/alarms", event, False) for event in events]
    assert "s3cret" not in alerts.log_of(0)
    listener.disconnect()
    listener.loop_stop()


def test_a_webhook_that_is_away_holds_up_no_alarm_and_hears_all_after_a_restart(
    alerts: Alerts, receiver: Receiver
) -> None:
    receiver.status = 503
    devices = [f"pump-{n}" for n in range(5)]
    first = alerts.start()
    alerts.write(*(record for device in devices for record in life(device)))
    eventually(lambda: len(alerts.events()) == 10, "all events are on the topic while the webhook is away")
    first.kill()
    first.wait(DEADLINE_S)
    receiver.status = 200
    alerts.start()
    eventually(lambda: len(receiver.posts) >= 10, "all notifications after the restart")
    assert sorted(key for key, _, _ in receiver.posts) == sorted(event.id for event in alerts.events())
    for device in devices:
        assert [e.phase for _, e, _ in receiver.posts if e.device == device] == ["raised", "cleared"]


def test_killed_again_and_again_no_alarm_is_lost_and_no_id_says_two_things(alerts: Alerts, receiver: Receiver) -> None:
    devices = [f"pump-{n}" for n in range(40)]
    worker = alerts.start()
    for turn in range(TURNS):
        alerts.write(*(anomaly(d, "opened", 1000 + 100 * turn, 1000 + 100 * turn) for d in devices))
        eventually(lambda seen=turn: len(receiver.posts) > 80 * seen + 20, "the worker is at work")
        worker.kill()
        worker.wait(DEADLINE_S)
        alerts.write(*(anomaly(d, "closed", 1050 + 100 * turn, 1000 + 100 * turn, revision=1) for d in devices))
        worker = alerts.start()
        eventually(
            lambda seen=turn: len({key for key, _, _ in receiver.posts}) >= 80 * (seen + 1), "all of it was sent"
        )
    contents: dict[str, set[bytes]] = {}
    for event in alerts.events():
        contents.setdefault(event.id, set()).add(msgspec.json.encode(event))
    assert len(contents) == 40 * TURNS * 2
    assert all(len(said) == 1 for said in contents.values())
    for device in devices:
        order = list(dict.fromkeys(e.id for e in alerts.events() if e.device == device))
        assert [i.rpartition(":")[2] for i in order] == ["raised", "cleared"] * TURNS


def test_two_workers_share_the_partitions_and_keep_both_topics_of_a_device_together(
    alerts: Alerts, receiver: Receiver
) -> None:
    first, second = alerts.start(), alerts.start()
    eventually(
        lambda: all("partitions_assigned" in alerts.log_of(n) for n in (0, 1)), "both workers have joined the group"
    )
    devices = [f"pump-{n}" for n in range(20)]
    alerts.write(*(anomaly(d, "opened", 1000) for d in devices))
    alerts.write(*(window(d, start_s, 20) for d in devices for start_s in (1000, 1040, 1050, 1060)))
    eventually(lambda: len(of_rule(alerts.events(), "open-long")) == 20, "aggregates told that the anomalies last")
    first.kill()
    first.wait(DEADLINE_S)
    alerts.write(*(anomaly(d, "closed", 1100, revision=1) for d in devices))
    eventually(lambda: len({e.id for e in alerts.events()}) == 80, "the other worker goes on where the first was")
    for rule in ("open", "open-long"):
        assert {e.device for e in of_rule(alerts.events(), rule) if e.phase == "cleared"} == set(devices)
    second.send_signal(signal.SIGTERM)
    assert second.wait(DEADLINE_S) == 0, alerts.log_of(1)


def test_an_alarm_by_an_aggregate_goes_on_where_it_was_after_a_kill(alerts: Alerts) -> None:
    worker = alerts.start()
    alerts.write(window("pump-1", 1000, 90))
    eventually(lambda: [e.phase for e in alerts.events()] == ["raised"], "raised")
    worker.kill()
    worker.wait(DEADLINE_S)
    alerts.start()
    alerts.write(window("pump-1", 1010, 90), window("pump-1", 1020, 20))
    eventually(lambda: [e.phase for e in alerts.events()] == ["raised", "cleared"], "cleared by the next worker")
    raised, cleared = alerts.events()
    assert raised.alarm == cleared.alarm
