"""The drill's devices against a real Mosquitto that is killed, cut off and silenced: in the end all is acknowledged."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.local.ports import Ports
from deploy.local.readiness import mqtt_probe, wait_ready
from deploy.local.servers import Installation, render_configuration
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.fleet import Fleet
from tests.faults.drill.proxy import Link
from tests.faults.drill.workload import Workload

pytestmark = pytest.mark.slow


class Mosquitto:
    """A Mosquitto of this test's own, which may be killed."""

    def __init__(self, folder: Path) -> None:
        self.ports = Ports.free()
        (folder / "data" / "mosquitto").mkdir(parents=True)
        self._configuration = folder / "mosquitto.conf"
        rendered = render_configuration(folder, self.ports)
        self._configuration.write_text(rendered[folder / "mosquitto" / "mosquitto.conf"])
        self._log = (folder / "mosquitto.log").open("ab")
        self.start()

    def start(self) -> None:
        command = [Installation.find(1).mosquitto, "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        assert wait_ready({"mosquitto": mqtt_probe(self.ports.mqtt)}, 30) == {}

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Subscriber:
    """Hears all, in a session that outlives its connections, and remembers what and how often."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5)
        self._client.on_message = lambda _c, _u, message: self.got.append((message.topic, message.payload))
        self._client.reconnect_delay_set(1, 1)
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=expiry)
        self._client.subscribe("weir/v1/#", qos=1)
        self._client.loop_start()

    def messages(self) -> dict[str, dict[int, int]]:
        """Device -> sequence number -> ts."""
        found: dict[str, dict[int, int]] = {}
        for topic, payload in list(self.got):
            message = json.loads(payload)
            found.setdefault(topic.split("/")[4], {})[message["seq"]] = message["ts"]
        return found

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    started = Mosquitto(tmp_path)
    yield started
    started.kill()


@pytest.fixture
def link(broker: Mosquitto) -> Iterator[Link]:
    made = Link("device-mosquitto", ("127.0.0.1", broker.ports.mqtt))
    yield made
    made.close()


def until(condition, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def more_acknowledged(fleet: Fleet, more: int) -> None:
    enough = fleet.counts().acknowledged + more
    until(lambda: fleet.counts().acknowledged >= enough, 60, f"{more} more messages are acknowledged")


def test_every_message_is_acknowledged_in_the_end_and_was_heard(broker, link, tmp_path):
    listener = Subscriber(broker.ports.mqtt)
    fleet = Fleet(Workload(1, "fleet", devices=20), "127.0.0.1", link.port, tmp_path / "fleet")
    fleet.start()
    fleet.wait_connected()
    # The broker saves its sessions every second.
    more_acknowledged(fleet, 400)
    assert link.cut() == 20
    more_acknowledged(fleet, 400)

    broker.kill()
    until(lambda: fleet.in_flight > 200, 60, "the devices go on while the broker is away")
    broker.start()
    more_acknowledged(fleet, 600)

    link.down()
    until(lambda: fleet.in_flight > 200, 60, "the devices go on while nobody takes their connections")
    link.up()
    more_acknowledged(fleet, 600)

    link.half_open()
    reconnects = fleet.counts().reconnects
    until(lambda: fleet.in_flight > 1500, 60, "the devices go on while nobody answers")
    assert link.bytes_swallowed > 0
    link.heal()
    more_acknowledged(fleet, 2000)
    assert fleet.counts().reconnects >= reconnects + 20

    fleet.stop()
    record = fleet.record()
    assert record == FleetRecord.read(tmp_path / "fleet")
    assert record.acknowledged == record.sent
    assert {device: sorted(seqs) for device, seqs in record.sent.items()} == {
        device: list(range(len(seqs))) for device, seqs in record.sent.items()
    }
    assert fleet.counts().resent > 0
    until(lambda: len({*listener.got}) >= sum(map(len, record.sent.values())), 20, "the listener has heard it all")
    assert listener.messages() == record.acknowledged
    listener.close()


def test_a_burst_poison_and_copies_are_what_they_say(broker, tmp_path):
    listener = Subscriber(broker.ports.mqtt)
    workload = Workload(1, "burst", devices=10, copies=3)
    fleet = Fleet(workload, "127.0.0.1", broker.ports.mqtt, tmp_path / "fleet")
    fleet.start()
    fleet.wait_connected()
    fleet.publish_raw(3, b"poison")
    fleet.burst(10, 2.0)
    more_acknowledged(fleet, 10 * 10 * 2 * 8)
    fleet.stop()
    record = fleet.record()
    assert record.poison_acknowledged == {"burst-03": [b"poison"]}
    assert record.poison_sent == {"burst-03": {b"poison": 1}}
    messages = sum(map(len, record.acknowledged.values()))
    until(lambda: len(listener.got) == 3 * messages + 1, 20, "each copy is heard")
    assert (workload.topic(3), workload.message(3, 5, record.sent["burst-03"][5])) in listener.got
    listener.close()
