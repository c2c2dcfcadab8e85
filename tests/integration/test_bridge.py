"""The bridge between a real Mosquitto and a real Kafka: every message once, whatever is killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from bridge_process import (
    DEADLINE_S,
    Arrived,
    BridgeProcess,
    Devices,
    free_port,
    publish_properties,
    read,
    read_raw,
    wait_until,
)

from deploy.local.ports import Ports
from deploy.local.stack import Stack
from schemas import mqtt, raw, topics
from schemas.telemetry import Status
from services.runtime.settings import KafkaSettings

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka, topic_prefix=f"bridge{uuid.uuid4().hex[:8]}.")


@pytest.fixture
def bridges(tmp_path: Path) -> Iterator[Callable[..., BridgeProcess]]:
    made: list[BridgeProcess] = []

    def make(*arguments: object, **options: str) -> BridgeProcess:
        made.append(BridgeProcess(tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def devices(mosquitto: tuple[str, int]) -> Iterator[Devices]:
    publishing = Devices(mosquitto, f"t{uuid.uuid4().hex[:8]}")
    yield publishing
    publishing.close()


def of(tenant: str, records: list[Arrived]) -> list[Arrived]:
    return [record for record in records if record.key.startswith(tenant.encode() + b"/")]


def test_every_message_is_on_raw_exactly_once_in_its_devices_order_and_sigterm_ends_well(
    bridges, devices, mosquitto, settings
):
    bridge = bridges(mosquitto, settings).ready()
    payloads = devices.publish_readings(2000, devices=10)

    records = of(devices.tenant, read_raw(settings, payloads))

    assert Counter(record.value for record in records) == Counter(payloads)
    by_device: dict[bytes, list[Arrived]] = defaultdict(list)
    for record in records:
        by_device[record.key].append(record)
    assert set(by_device) == {f"{devices.tenant}/pump-{i}".encode() for i in range(10)}
    for i in range(10):
        own = by_device[f"{devices.tenant}/pump-{i}".encode()]
        assert len({record.partition for record in own}) == 1
        assert [record.value for record in own] == payloads[i::10]
        received = [int(record.headers.pop(raw.RECEIVED_AT)) for record in own]
        assert received == sorted(received)
        topic = mqtt.telemetry_topic(devices.tenant, "berlin", f"pump-{i}").encode()
        expected = {raw.MQTT_TOPIC: topic, raw.MQTT_DUP: b"0", raw.ROUTE: b"telemetry"}
        assert all(record.headers == expected for record in own)
    wait_until(lambda: bridge.metric("weir_bridge_acknowledged_messages_total") >= 2000, "all is acknowledged")
    assert bridge.terminate() == 0
    assert "unacked=0" in bridge.log()


def test_messages_published_while_the_bridge_is_away_arrive_when_it_is_back(bridges, devices, mosquitto, settings):
    bridge = bridges(mosquitto, settings).ready()
    assert bridge.terminate() == 0
    payloads = devices.publish_readings(300, devices=3)

    bridge.ready()

    assert Counter(r.value for r in of(devices.tenant, read_raw(settings, payloads))) == Counter(payloads)


def test_kill_9_in_mid_stream_loses_nothing_and_repeats_say_so(bridges, devices, mosquitto, settings):
    bridge = bridges(mosquitto, settings).ready()
    payloads: list[bytes] = []
    killed_enough = threading.Event()

    def publish() -> None:
        while not killed_enough.is_set():
            payloads.extend(devices.publish_readings(200, devices=7, first=len(payloads)))

    publishing = threading.Thread(target=publish)
    publishing.start()
    for _ in range(3):
        wait_until(lambda: bridge.metric("weir_bridge_durable_records_total") > 0, "messages flow")
        bridge.kill()
        bridge.ready()
    killed_enough.set()
    publishing.join(DEADLINE_S)

    records = of(devices.tenant, read_raw(settings, payloads))

    times_seen: Counter[bytes] = Counter()
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        if times_seen[record.value]:
            assert record.headers[raw.MQTT_DUP] == b"1"
        times_seen[record.value] += 1
    assert set(times_seen) == set(payloads)


def test_a_message_over_the_limit_is_on_record_with_its_size_and_digest(bridges, devices, mosquitto, settings):
    bridges(mosquitto, settings).ready()
    payload = os.urandom(300 * 1024)
    topic = mqtt.telemetry_topic(devices.tenant, "berlin", "camera")
    devices.publish(topic, payload)

    (record,) = read(settings, topics.RAW, bool)

    assert (record.key, record.value) == (f"{devices.tenant}/camera".encode(), payload[: raw.TOO_LARGE_KEPT_BYTES])
    assert (record.headers[raw.REJECT], record.headers[raw.SIZE]) == (b"too_large", b"307200")
    assert record.headers[raw.SHA256] == hashlib.sha256(payload).hexdigest().encode()


def test_unplaced_topics_and_properties_reach_raw(bridges, devices, mosquitto, settings):
    bridges(mosquitto, settings).ready()
    devices.publish("weir/v1/nothing", b"lost")
    devices.publish(mqtt.telemetry_topic(devices.tenant, "berlin", "no good"), b"bad")
    devices.publish(
        mqtt.telemetry_topic(devices.tenant, "berlin", "d1"),
        b"good",
        properties=publish_properties("application/json", TRACE),
    )

    by_value = {record.value: record for record in read_raw(settings, [b"lost", b"bad", b"good"])}

    assert by_value[b"lost"].key == by_value[b"bad"].key == topics.UNPLACED_KEY
    assert by_value[b"lost"].headers[raw.REJECT] == b"unroutable"
    assert by_value[b"bad"].headers[raw.REJECT] == b"bad_topic"
    assert by_value[b"good"].headers[raw.CONTENT_TYPE] == b"application/json"
    assert by_value[b"good"].headers[raw.TRACEPARENT] == TRACE.encode()


def test_retained_status_arrives_and_a_retained_copy_of_telemetry_does_not(bridges, devices, mosquitto, settings):
    status = mqtt.status_topic(devices.tenant, "berlin", "d1")
    telemetry = mqtt.telemetry_topic(devices.tenant, "berlin", "d1")
    devices.publish(status, b"online", retain=True)
    devices.publish(telemetry, b"old", retain=True)
    try:
        bridge = bridges(mosquitto, settings).ready()
        devices.publish(status, b"offline", retain=True)
        devices.publish(telemetry, b"new", retain=True)

        said = of(devices.tenant, read(settings, topics.STATUS, lambda got: len(of(devices.tenant, got)) >= 2))
        measured = of(devices.tenant, read_raw(settings, [b"new"]))
    finally:
        devices.publish(status, b"", retain=True)
        devices.publish(telemetry, b"", retain=True)

    statuses = [msgspec.json.decode(record.value, type=Status) for record in said]
    assert [(s.text, s.retained) for s in statuses] == [("online", True), ("offline", False)]
    assert [record.value for record in measured] == [b"new"]
    wait_until(
        lambda: bridge.metric("weir_bridge_dropped_messages_total", '{reason="retained"}') >= 1, "the copy is counted"
    )


def test_bridges_of_one_group_share_the_messages_and_each_arrives_once(bridges, devices, mosquitto, settings):
    group = {"WEIR_BRIDGE__SHARED_GROUP": f"g-{devices.tenant}"}
    one = bridges(mosquitto, settings, **group).ready()
    two = bridges(mosquitto, settings, **group, WEIR_LOG__FORMAT="json").ready()
    payloads = devices.publish_readings(600, devices=6)

    records = of(devices.tenant, read_raw(settings, payloads))

    assert Counter(record.value for record in records) == Counter(payloads)
    for bridge in (one, two):
        wait_until(lambda b=bridge: b.metric("weir_bridge_received_messages_total") > 0, "both bridges work")


def test_while_kafka_is_down_nothing_is_acknowledged_and_memory_stays_flat(bridges, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("kafka-down"), Ports.free())
    stack.start(tied_to_caller=True)
    try:
        stack.wait_servers_ready(DEADLINE_S)
        settings = KafkaSettings(bootstrap=stack.kafka_bootstrap)
        bridge = bridges(stack.mqtt_address, settings, WEIR_BRIDGE__RECEIVE_MAXIMUM="200").ready()
        devices = Devices(stack.mqtt_address, "acme")
        payloads = devices.publish_readings(500, devices=5)
        wait_until(lambda: bridge.metric("weir_bridge_acknowledged_messages_total") == 500, "the first are through")

        stack.stop_program("kafka")
        payloads += devices.publish_readings(1000, devices=5, first=500, padding=10_000)
        wait_until(lambda: bridge.get("/readyz")[0] == 503, "/readyz says that Kafka is away")
        assert "kafka" in bridge.get("/readyz")[1]
        assert bridge.get("/healthz")[0] == 200
        before = bridge.resident_bytes()
        payloads += devices.publish_readings(2000, devices=5, first=1500, padding=10_000)
        assert bridge.resident_bytes() - before < 5_000_000
        assert bridge.metric("weir_bridge_acknowledged_messages_total") == 500
        assert 200 <= bridge.metric("weir_bridge_unacked_messages") < 200 + 64

        stack.start_program("kafka")
        records = read_raw(settings, payloads)
        devices.close()

        assert Counter(record.value for record in records) == Counter(payloads)
        wait_until(lambda: bridge.get("/readyz")[0] == 200, "the bridge is ready again")
        assert bridge.terminate() == 0
    finally:
        stack.stop()


class Mosquitto:
    """A broker of a test's own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.address = ("127.0.0.1", free_port())
        self._configuration = folder / "mosquitto.conf"
        lines = (f"listener {self.address[1]} 127.0.0.1", "persistence true", f"persistence_location {folder}/", *more)
        self._configuration.write_text("\n".join([*lines, "user root", ""]))
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(self._configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    made: list[Mosquitto] = []

    def make(*more: str) -> Mosquitto:
        made.append(Mosquitto(tmp_path, *more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_mosquitto_restarted_is_found_again_and_its_session_with_it(bridges, own_mosquitto, settings):
    broker = own_mosquitto("allow_anonymous true")
    bridge = bridges(broker.address, settings).ready()
    broker.stop()
    wait_until(lambda: bridge.get("/readyz")[0] == 503, "/readyz says that Mosquitto is away")

    broker.start()
    wait_until(lambda: bridge.get("/readyz")[0] == 200, "the bridge is connected again")
    devices = Devices(broker.address, "acme")
    payloads = devices.publish_readings(100, devices=2)
    devices.close()

    assert Counter(r.value for r in read_raw(settings, payloads)) == Counter(payloads)
    assert bridge.metric("weir_bridge_lost_sessions_total") == 0
    assert bridge.metric("weir_bridge_connections_total") == 2


def test_a_broker_that_forgot_the_session_is_reported(bridges, own_mosquitto, settings, tmp_path):
    broker = own_mosquitto("allow_anonymous true")
    bridge = bridges(broker.address, settings).ready()
    broker.stop()
    (tmp_path / "mosquitto.db").unlink()
    broker.start()

    wait_until(lambda: bridge.metric("weir_bridge_lost_sessions_total") == 1, "the lost session is counted")
    assert "mqtt_session_lost" in bridge.log()
