"""A bridge as its own process, devices that publish, and a reader of what arrived."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from confluent_kafka import TopicPartition
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from schemas import mqtt, topics
from services.runtime import kafka
from services.runtime.settings import KafkaSettings

DEADLINE_S = 90.0

_START = "from services.bridge.service import run; from services.runtime import process; process.run('bridge', run)"


def wait_until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class BridgeProcess:
    """`weir bridge`, with one client id, so that each start continues the session of the one before."""

    def __init__(self, folder: Path, mosquitto: tuple[str, int], settings: KafkaSettings, **options: str) -> None:
        self.client_id = f"bridge-{settings.topic_prefix}{len(options)}"
        self._log = folder / f"{self.client_id}.log"
        self._http_port = free_port()
        self._mosquitto = mosquitto
        self._environment = {
            "WEIR_MQTT__HOST": mosquitto[0],
            "WEIR_MQTT__PORT": str(mosquitto[1]),
            "WEIR_KAFKA__BOOTSTRAP": settings.bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
            "WEIR_BRIDGE__CLIENT_ID": self.client_id,
            "WEIR_BRIDGE__HTTP_PORT": str(self._http_port),
        } | options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> BridgeProcess:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START], env={**os.environ, **self._environment}, stdout=log, stderr=log
            )
        return self

    def ready(self) -> BridgeProcess:
        self.start()
        wait_until(lambda: self.get("/readyz")[0] == 200, "the bridge is ready")
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; (0, "") while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, labels: str = "") -> float:
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def exit_code(self) -> int:
        return self._process.wait(DEADLINE_S)

    def terminate(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def close(self) -> None:
        """Also ends the session, so that the broker queues nothing for a bridge that never comes back."""
        # Shown by pytest where the test has failed.
        sys.stdout.write(f"{self.client_id}: {self.get('/readyz')}\n{self.log()}{self.get('/metrics')[1]}")
        if self._process is not None and self._process.poll() is None:
            self.kill()
        ended = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=paho.MQTTv5)
        try:
            ended.connect(*self._mosquitto, clean_start=True)
        except OSError:
            return
        ended.loop(1.0)
        ended.disconnect()


@dataclass(frozen=True)
class Arrived:
    """One record of a topic."""

    key: bytes
    value: bytes
    headers: dict[str, bytes]
    partition: int
    offset: int


def read(settings: KafkaSettings, topic: str, enough: Callable[[list[Arrived]], bool]) -> list[Arrived]:
    """Everything on a topic, until it is `enough` and its end is reached."""
    client = kafka.reader(settings)
    name = settings.topic_prefix + topic
    try:
        partitions = client.list_topics(name, timeout=30).topics[name].partitions
        client.assign([TopicPartition(name, partition, 0) for partition in partitions])
        got: list[Arrived] = []
        errors: Counter[str] = Counter()

        def consume(seconds: float) -> None:
            for message in client.consume(2000, seconds):
                if (error := message.error()) is None:
                    headers = dict(message.headers() or [])
                    got.append(Arrived(message.key(), message.value(), headers, message.partition(), message.offset()))
                else:
                    errors[error.name()] += 1

        end = time.monotonic() + DEADLINE_S
        while not enough(got):
            # Tells a reader that stands still from a topic that has no more.
            assert time.monotonic() < end, (
                f"{len(got)} records of {name} are not enough; it has {kafka.bounds(settings, topic, partitions)},"
                f" read up to {client.position(client.assignment())}, errors {dict(errors)}"
            )
            consume(0.5)
        consume(1.0)
        return got
    finally:
        client.close()


def read_raw(settings: KafkaSettings, values: Iterable[bytes]) -> list[Arrived]:
    """`telemetry.raw`, until each of `values` is there."""
    wanted = set(values)
    return read(settings, topics.RAW, lambda got: wanted <= {record.value for record in got})


class Devices:
    """Publishes QoS 1 for devices of one tenant, over one connection."""

    def __init__(self, mosquitto: tuple[str, int], tenant: str) -> None:
        self.tenant = tenant
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=f"devices-{tenant}", protocol=paho.MQTTv5
        )
        self._client.max_inflight_messages_set(200)
        self._client.connect(*mosquitto)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None):
        return self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def publish(self, topic: str, payload: bytes, **more: object) -> None:
        """Returns when the broker has acknowledged."""
        sent = self.send(topic, payload, **more)
        sent.wait_for_publish(DEADLINE_S)
        assert sent.is_published(), f"the broker did not acknowledge a message to {topic}"

    def publish_readings(self, count: int, devices: int, first: int = 0, padding: int = 0) -> list[bytes]:
        """`count` messages in turn over `devices`; returns their payloads when the broker has all."""
        sent, payloads = [], []
        for seq in range(first, first + count):
            device = f"pump-{seq % devices}"
            payload = json.dumps({"device": device, "seq": seq, "values": {"temperature": 21.5}, "pad": "x" * padding})
            payloads.append(payload.encode())
            sent.append(self.send(mqtt.telemetry_topic(self.tenant, "berlin", device), payloads[-1]))
        for one in sent:
            one.wait_for_publish(DEADLINE_S)
        return payloads


def publish_properties(content_type: str, traceparent: str) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    made.ContentType = content_type
    made.UserProperty = ("traceparent", traceparent)
    return made
