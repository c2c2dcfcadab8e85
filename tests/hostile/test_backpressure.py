"""With a neighbour away nobody piles up what devices go on sending: memory stays flat, and lag tells the truth.

The rates and times are those of issue 4: 2,000 messages a second for a minute.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from bridge_process import BridgeProcess, Devices, free_port, read, wait_until
from influx import OwnInflux, count
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sink_process import SinkProcess, eventually, produce

from deploy.local.ports import Ports
from deploy.local.stack import Stack
from schemas import mqtt, topics
from schemas.telemetry import Clean, TimeSource
from services.console.checks import Verdict
from services.console.mqtt_checks import refusal
from services.console.mqtt_queue import DROPPED, check_queue, numbers
from services.runtime import kafka as runtime_kafka
from services.runtime.settings import KafkaSettings, MqttSettings

pytestmark = pytest.mark.slow

SECONDS = 30
A_SECOND = 2000
FLAT_BYTES = 30_000_000
RECEIVE_MAXIMUM = 256


def resident_bytes(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


class Load:
    """Publishes at a steady rate, whatever becomes of it; `acknowledged` counts what the MQTT broker took."""

    def __init__(self, address: tuple[str, int], seconds: float) -> None:
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="load", protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.on_publish = self._on_publish
        self._client.connect(*address)
        self._client.loop_start()
        self.acknowledged = 0
        self.published = 0
        self._seconds = seconds
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def _on_publish(self, *_args: object) -> None:
        self.acknowledged += 1

    def _run(self) -> None:
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self._seconds:
            while self.published < elapsed * A_SECOND:
                seq = self.published
                topic = mqtt.telemetry_topic("acme", "berlin", f"pump-{seq % 20}")
                self._client.publish(topic, b'{"seq":%d,"values":{"temperature":21.5,"flow":3.25}}' % seq, qos=1)
                self.published += 1
            time.sleep(0.01)

    def running(self) -> bool:
        return self._thread.is_alive()

    def finish(self) -> int:
        """How many messages the broker has acknowledged: all of them."""
        self._thread.join()
        while (known := self.acknowledged) < self.published:
            # On a busy machine it may take its time, as long as it moves.
            wait_until(lambda known=known: self.acknowledged > known, f"more than {known} are acknowledged")
        self._client.disconnect()
        self._client.loop_stop()
        return self.published


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", Ports.free())
    made.start(tied_to_caller=True)
    try:
        made.wait_servers_ready(180)
        yield made
    finally:
        made.stop()


def in_raw(settings: KafkaSettings) -> int:
    """Records on telemetry.raw."""
    there = runtime_kafka.bounds(settings, topics.RAW, range(4))
    return sum(end for _, end in there.values())


@pytest.mark.parametrize("how", ["frozen", "stopped"])
def test_with_kafka_away_the_bridge_stays_as_small_as_it_was_and_acknowledges_nothing(own_stack, tmp_path, how):
    settings = KafkaSettings(bootstrap=own_stack.kafka_bootstrap)
    bridge = BridgeProcess(tmp_path, own_stack.mqtt_address, settings).ready()
    try:
        warm = Load(own_stack.mqtt_address, 5)
        first = warm.finish()
        acknowledged = "weir_bridge_acknowledged_messages_total"
        wait_until(lambda: bridge.metric(acknowledged) == first, "the first are through")
        before = bridge.resident_bytes()

        if how == "frozen":
            own_stack.signal("kafka", signal.SIGSTOP)
        else:
            own_stack.stop_program("kafka")
        load, sizes, unacked = Load(own_stack.mqtt_address, SECONDS), [], []
        while load.running():
            sizes.append(bridge.resident_bytes())
            unacked.append(bridge.metric("weir_bridge_unacked_messages"))
            time.sleep(1)
        sent = load.finish()
        assert bridge.metric(acknowledged) == first
        assert bridge.get("/readyz")[0] == 503
        assert RECEIVE_MAXIMUM <= bridge.metric("weir_producer_queued_records") < 4 * RECEIVE_MAXIMUM
        print(f"{how}: {before / 1e6:.1f} MB, then at most {max(sizes) / 1e6:.1f}; unacked {max(unacked):.0f}")
        assert max(sizes) - before < FLAT_BYTES
        # What one read of the socket holds may come on top.
        assert RECEIVE_MAXIMUM <= max(unacked) < RECEIVE_MAXIMUM + 64 * 1024 / 60

        if how == "frozen":
            own_stack.signal("kafka", signal.SIGCONT)
        else:
            own_stack.start_program("kafka")
        wait_until(lambda: bridge.metric(acknowledged) == first + sent, "all is acknowledged")
        assert in_raw(settings) >= first + sent
        values = {record.value for record in read(settings, topics.RAW, lambda got: len(got) >= first + sent)}
        assert len(values) == sent, "each seq is there; the first ones were sent twice"
    finally:
        bridge.close()


@pytest.fixture
def own_influx(tmp_path: Path, influx_version) -> Iterator[OwnInflux]:
    made = OwnInflux(tmp_path / "influx", influx_version)
    made.start()
    yield made
    made.kill()


def readings(first: int, number: int) -> list[Clean]:
    now_us = time.time_ns() // 1000
    return [
        Clean(
            *(f"id{i}", "acme", "berlin", f"pump-{i % 20}", "generic", now_us + i, now_us),
            *(TimeSource.DEVICE, None, None, {"temperature": 21.5, "flow": float(i)}),
        )
        for i in range(first, first + number)
    ]


def test_with_influxdb_away_the_sink_stops_reading_stays_small_and_catches_up(kafka, own_influx, tmp_path):
    prefix = f"away{uuid.uuid4().hex[:8]}."
    runtime_kafka.ensure_topics(KafkaSettings(bootstrap=kafka, topic_prefix=prefix))
    sink = SinkProcess(kafka, own_influx, prefix, free_port(), tmp_path / "sink.log").start()
    lag = f'weir_sink_lag_messages{{topic="{prefix}{topics.CLEAN}"}}'
    read_records = f'weir_sink_records_total{{topic="{prefix}{topics.CLEAN}"}}'
    try:
        eventually("the sink is ready", sink.ready)
        produce(kafka, prefix, topics.CLEAN, readings(0, 5000))
        eventually("the first are stored", lambda: sink.metric(read_records) == 5000)
        before = resident_bytes(sink.process.pid)

        own_influx.kill()
        sizes = []
        for second in range(SECONDS):
            began = time.monotonic()
            produce(kafka, prefix, topics.CLEAN, readings(5000 + second * A_SECOND, A_SECOND))
            sizes.append(resident_bytes(sink.process.pid))
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
        sent = SECONDS * A_SECOND
        eventually("lag shows what waits", lambda: sink.metric(lag) == sent)
        assert sink.metric(read_records) == 5000, "nothing was taken as stored"
        assert not sink.ready()
        assert sink.metric("weir_sink_lines_in_hand") > 0
        print(f"{before / 1e6:.1f} MB, then at most {max(sizes) / 1e6:.1f}")
        assert max(sizes) - before < FLAT_BYTES

        own_influx.start()
        eventually("all is stored", lambda: sink.metric(read_records) == 5000 + sent)
        eventually("lag is gone", lambda: sink.metric(lag) == 0)
        eventually(
            "each point is there", lambda: count(own_influx.url, "readings", "value", "acme") == 2 * (5000 + sent)
        )
        assert resident_bytes(sink.process.pid) - before < 2 * FLAT_BYTES
    finally:
        sink.kill()


def test_mosquittos_queue_ends_at_its_bytes_and_the_doctor_says_what_was_dropped(tmp_path):
    port, configuration = free_port(), tmp_path / "mosquitto.conf"
    lines = ("max_queued_messages 0", "max_queued_bytes 1000000", "sys_interval 1", "allow_anonymous true")
    configuration.write_text("\n".join([f"listener {port} 127.0.0.1", *lines, "user root", ""]))
    command = ["/usr/sbin/mosquitto", "-c", str(configuration)]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    told = MqttSettings(port=port)
    try:
        wait_until(lambda: refusal(told) is None, "the broker answers")
        away = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="absent", protocol=paho.MQTTv5)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        granted: list[object] = []
        away.on_subscribe = lambda *_args: granted.append(1)
        away.connect("127.0.0.1", port, clean_start=False, properties=properties)
        away.loop_start()
        away.subscribe("weir/v1/#", qos=1)
        wait_until(lambda: bool(granted), "the absent bridge has a session")
        away.disconnect()
        away.loop_stop()
        wait_until(lambda: bool(numbers(told)), "the broker counts")
        assert [check.verdict for check in check_queue(told)] == [Verdict.OK]

        before = resident_bytes(broker.pid)
        devices = Devices(("127.0.0.1", port), "acme")
        devices.publish_readings(20_000, devices=5, padding=1000)
        devices.close()
        wait_until(lambda: numbers(told).get(DROPPED, 0) > 15_000, "the broker tells of what it dropped")
        assert resident_bytes(broker.pid) - before < 10_000_000
        (check,) = check_queue(told)
        assert check.verdict is Verdict.WARNING
        assert "dropped" in check.found
    finally:
        broker.terminate()
        broker.wait()
