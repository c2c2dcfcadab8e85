"""CPU of the bridge stage: MQTT QoS 1 in, Kafka out, acknowledged only when durable. `weir` against a plain loop.

    python bench/stage_bridge.py --mqtt 127.0.0.1:1883 --kafka 127.0.0.1:9092 --messages 100000 --devices 50

Messages are published while the contender's session exists, then it is timed until all are acknowledged and on the
topic: `queued` finds them waiting in the broker, `live` publishes while it runs. One JSON line for each contender;
CPU seconds are those of its process, start-up taken off (measured by a run without messages).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import deque

import paho.mqtt.client as paho
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from schemas import mqtt, topics
from services.runtime import kafka, logging
from services.runtime.settings import KafkaSettings

WEIR = "from services.bridge.service import run; from services.runtime import process; process.run('bridge', run)"
DEADLINE_S = 600.0


def plain() -> None:
    """What one writes first: paho's thread, confluent's producer, acknowledgement from the delivery report."""
    producer = kafka.producer(KafkaSettings(bootstrap=os.environ["BENCH_KAFKA"]))
    topic = os.environ["BENCH_PREFIX"] + topics.RAW
    host, _, port = os.environ["BENCH_MQTT"].partition(":")

    def on_message(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        def on_delivery(error: KafkaError | None, _record: object, mid: int = message.mid) -> None:
            if error is None:
                client.ack(mid, 1)

        _, _, tenant, _, device, _ = message.topic.split("/")
        producer.produce(
            topic,
            key=f"{tenant}/{device}",
            value=bytes(message.payload),
            headers=[
                ("mqtt-topic", message.topic),
                ("mqtt-dup", b"1" if message.dup else b"0"),
                ("received-at", str(time.time_ns() // 1000)),
                ("route", "telemetry"),
            ],
            on_delivery=on_delivery,
        )
        producer.poll(0)

    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=os.environ["BENCH_CLIENT"], protocol=paho.MQTTv5, manual_ack=True
    )
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 512
    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe("weir/v1/#", qos=1)
    client.connect(host, int(port), clean_start=False, properties=properties)
    client.loop_start()
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    while not leaving:
        producer.poll(0.01)
    client.disconnect()


class Contender:
    """One process under test, with a session and topics of its own."""

    def __init__(self, name: str, mqtt_address: str, bootstrap: str) -> None:
        self.name = name
        self.settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=f"bench{uuid.uuid4().hex[:8]}.")
        self.client_id = f"bench-{self.settings.topic_prefix}"
        host, _, port = mqtt_address.partition(":")
        self.environment = os.environ | {
            "WEIR_MQTT__HOST": host,
            "WEIR_MQTT__PORT": port,
            "WEIR_KAFKA__BOOTSTRAP": bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": self.settings.topic_prefix,
            "WEIR_BRIDGE__CLIENT_ID": self.client_id,
            "WEIR_BRIDGE__HTTP_PORT": "0",
        }
        if name == "plain":
            self.environment = os.environ | {
                "BENCH_MQTT": mqtt_address,
                "BENCH_KAFKA": bootstrap,
                "BENCH_PREFIX": self.settings.topic_prefix,
                "BENCH_CLIENT": self.client_id,
            }
        kafka.ensure_topics(self.settings)
        self._reader = kafka.reader(self.settings)

    def start(self) -> None:
        command = ["-c", WEIR] if self.name == "weir" else [__file__, "--plain"]
        self._process = subprocess.Popen(
            [sys.executable, *command], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> float:
        """Leave; returns the CPU seconds of the process."""
        self._process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        return usage.ru_utime + usage.ru_stime

    def on_topic(self) -> int:
        name = self.settings.topic_prefix + topics.RAW
        partitions = self._reader.list_topics(name, timeout=30).topics[name].partitions
        try:
            return sum(self._reader.get_watermark_offsets(TopicPartition(name, p), timeout=30)[1] for p in partitions)
        except KafkaException:  # a topic just made has no leader yet
            return 0

    def wait_for(self, messages: int) -> None:
        end = time.monotonic() + DEADLINE_S
        while self.on_topic() < messages:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {self.on_topic()} of {messages} messages")
            time.sleep(0.1)

    def close(self) -> None:
        """End the process, and its session, so that the broker queues nothing for it."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        host, _, port = self.environment.get("BENCH_MQTT", "").partition(":")
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=paho.MQTTv5)
        client.connect(host or self.environment["WEIR_MQTT__HOST"], int(port or self.environment["WEIR_MQTT__PORT"]))
        client.loop(1.0)
        client.disconnect()
        self._reader.close()


def publish(address: str, messages: int, devices: int, per_second: float | None) -> None:
    """QoS 1 over one connection; returns when the broker has all."""
    host, _, port = address.partition(":")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(500)
    client.connect(host, int(port))
    client.loop_start()
    begin = time.monotonic()
    sent: deque[paho.MQTTMessageInfo] = deque()
    for seq in range(messages):
        payload = json.dumps({"ts": 1_700_000_000_000 + seq, "seq": seq // devices, "values": {"temperature": 21.5}})
        sent.append(client.publish(mqtt.telemetry_topic("bench", "lab", f"d{seq % devices}"), payload, qos=1))
        # paho looks through all that waits at each PUBACK, so little may wait.
        if len(sent) > 500:
            sent.popleft().wait_for_publish(DEADLINE_S)
        if per_second and seq % 50 == 49:
            time.sleep(max(0.0, begin + seq / per_second - time.monotonic()))
    for one in sent:
        one.wait_for_publish(DEADLINE_S)
    client.disconnect()
    client.loop_stop()


def run(
    contender: str, messages: int, devices: int, mqtt_address: str, bootstrap: str, per_second: float | None
) -> dict[str, object]:
    """One measurement; `per_second` None: the messages wait in the broker before the contender starts."""
    under_test = Contender(contender, mqtt_address, bootstrap)
    try:
        under_test.start()
        publish(mqtt_address, 1, 1, None)
        while under_test.on_topic() < 1:
            publish(mqtt_address, 1, 1, None)
            time.sleep(0.5)
        idle_s = under_test.stop()
        there = under_test.on_topic()
        begin = time.monotonic()
        if per_second is None:
            publish(mqtt_address, messages, devices, None)
            begin = time.monotonic()
            under_test.start()
        else:
            under_test.start()
            publish(mqtt_address, messages, devices, per_second)
        under_test.wait_for(there + messages)
        wall_s = time.monotonic() - begin
        cpu_s = under_test.stop() - idle_s
    finally:
        under_test.close()
    return {
        "stage": "bridge",
        "contender": contender,
        "load": "queued" if per_second is None else f"{per_second:g}/s",
        "messages": messages,
        "cpu_s": round(cpu_s, 3),
        "cpu_s_per_million": round(cpu_s / messages * 1e6, 1),
        "wall_s": round(wall_s, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mqtt", default="127.0.0.1:1883")
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--per-second", type=float, default=None)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    logging.configure("bench", level="WARNING")
    if told.plain:
        plain()
        return
    for contender in ("weir", "plain"):
        result = run(contender, told.messages, told.devices, told.mqtt, told.kafka, told.per_second)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
