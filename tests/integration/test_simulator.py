"""The simulator against a real Mosquitto, watched by an independent subscriber."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from structlog.testing import capture_logs

from deploy.local.servers import Installation
from services.runtime.errors import ConfigurationError
from services.runtime.settings import MqttSettings
from services.simulator.options import ReplayOptions
from services.simulator.service import replay

DEADLINE_S = 60.0


def eventually(found: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not found():
        assert time.monotonic() < until, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.02)


class Subscriber:
    """All that is published under a tenant, as somebody else's client sees it."""

    def __init__(self, address: tuple[str, int], tenant: str) -> None:
        self.telemetry: dict[str, list[dict]] = defaultdict(list)
        self.arrays = 0
        self.status: dict[str, str] = {}
        self.retained: dict[str, str] = {}
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(f"weir/v1/{tenant}/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect(*address)
        self._client.loop_start()
        assert self._ready.wait(DEADLINE_S)

    def _on_message(self, _client: object, _: object, message: paho.MQTTMessage) -> None:
        *_, device, kind = message.topic.split("/")
        if kind == "status":
            (self.retained if message.retain else self.status)[device] = message.payload.decode()
            return
        payload = json.loads(message.payload)
        self.arrays += isinstance(payload, list)
        self.telemetry[device] += payload if isinstance(payload, list) else [payload]

    def seqs(self, device: str) -> list[int]:
        return [message["seq"] for message in self.telemetry[device]]

    def count(self) -> int:
        return sum(map(len, self.telemetry.values()))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def tenant() -> str:
    return f"sim-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def subscriber(mosquitto: tuple[str, int], tenant: str) -> Iterator[Subscriber]:
    watching = Subscriber(mosquitto, tenant)
    yield watching
    watching.close()


def settings(address: tuple[str, int]) -> MqttSettings:
    return MqttSettings(host=address[0], port=address[1])


def names(devices: int) -> set[str]:
    return {f"pump-{i:02}" for i in range(1, devices + 1)}


def never() -> bool:
    return False


class Thread:
    """A replay in a thread; `result` raises what it raised."""

    def __init__(self, options: ReplayOptions, mqtt: MqttSettings) -> None:
        self._stop = threading.Event()
        self._outcome: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(options, mqtt), daemon=True)
        self._thread.start()

    def _run(self, options: ReplayOptions, mqtt: MqttSettings) -> None:
        try:
            self._outcome.append(replay(options, mqtt, self._stop.is_set))
        except ConfigurationError as error:
            self._outcome.append(error)

    def stop(self) -> None:
        self._stop.set()

    def result(self):
        self._thread.join(DEADLINE_S)
        (outcome,) = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_every_acknowledged_message_arrives_once_and_in_order(mosquitto, tenant, subscriber):
    options = ReplayOptions(tenant=tenant, devices=20, messages=100, rate=0.0)
    summary = replay(options, settings(mosquitto), never)
    assert (summary.devices, summary.messages, summary.acknowledged) == (20, 2000, 2000)
    assert summary.readings == 3 * 2000
    eventually(lambda: subscriber.count() >= 2000, "all messages")
    assert set(subscriber.telemetry) == names(20)
    assert all(subscriber.seqs(device) == list(range(100)) for device in names(20))


def test_status_is_online_then_offline_and_stays_for_those_who_come_later(mosquitto, tenant, subscriber):
    running = Thread(ReplayOptions(tenant=tenant, devices=5, rate=5.0), settings(mosquitto))
    eventually(lambda: subscriber.status == dict.fromkeys(names(5), "online"), "online")
    running.stop()
    summary = running.result()
    assert summary.acknowledged == summary.messages
    eventually(lambda: subscriber.status == dict.fromkeys(names(5), "offline"), "offline")
    later = Subscriber(mosquitto, tenant)
    eventually(lambda: later.retained == dict.fromkeys(names(5), "offline"), "retained offline")
    later.close()


PROGRAM = """
import sys
from services.runtime.process import Shutdown, run
from services.runtime.settings import MqttSettings
from services.simulator.options import ReplayOptions
from services.simulator.service import replay

host, port, tenant = sys.argv[1:]
stop = Shutdown().install()
mqtt = MqttSettings(host=host, port=int(port))
run("simulator", lambda: print(replay(ReplayOptions(tenant=tenant, devices=5, rate=10.0), mqtt, stop).line()))
"""


@pytest.fixture
def process(mosquitto, tenant, subscriber) -> Iterator[subprocess.Popen]:
    """A replay that runs for ever, in a process of its own, and has published."""
    command = [sys.executable, "-c", PROGRAM, mosquitto[0], str(mosquitto[1]), tenant]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as started:
        eventually(lambda: set(subscriber.telemetry) == names(5), "telemetry of all devices")
        yield started
        started.kill()


def test_kill_9_leaves_the_last_will_of_every_device(process, subscriber):
    assert subscriber.status == dict.fromkeys(names(5), "online")
    process.kill()
    eventually(lambda: subscriber.status == dict.fromkeys(names(5), "offline"), "last wills")


def test_sigterm_says_offline_and_exits_0_with_a_summary_of_all_acknowledged(process, subscriber):
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    summary = json.loads(printed)
    assert summary["messages"] == summary["acknowledged"] > 0
    eventually(lambda: subscriber.status == dict.fromkeys(names(5), "offline"), "offline")
    eventually(lambda: subscriber.count() == summary["messages"], "all messages")


def test_history_arrives_in_arrays_before_live_readings(mosquitto, tenant, subscriber):
    options = ReplayOptions(tenant=tenant, devices=3, history=120, messages=5, rate=20.0)
    summary = replay(options, settings(mosquitto), never)
    assert summary.messages == summary.acknowledged == 3 * (3 + 5)
    eventually(lambda: subscriber.count() >= 3 * 125, "all readings")
    assert subscriber.arrays == 9
    assert all(subscriber.seqs(device) == list(range(125)) for device in names(3))
    stamps = [message["ts"] for message in subscriber.telemetry["pump-01"]]
    assert stamps == sorted(set(stamps))


def test_devices_beyond_the_limit_share_connections(mosquitto, tenant, subscriber):
    options = ReplayOptions(tenant=tenant, devices=10, connections=3, messages=50, rate=0.0)
    summary = replay(options, settings(mosquitto), never)
    assert summary.acknowledged == 500
    eventually(lambda: subscriber.count() >= 500, "all messages")
    assert all(subscriber.seqs(device) == list(range(50)) for device in names(10))
    eventually(lambda: subscriber.status == dict.fromkeys(names(10), "offline"), "offline for each")


def test_faults_show_on_the_wire_and_in_the_labels(mosquitto, tenant, subscriber, tmp_path):
    labels = tmp_path / "labels.jsonl"
    faults = ("duplicate@pump-01:*:0.5+0.5", "drop-out@pump-02:*:0.5+0.5", "step@pump-03:flow:0.5+1:50")
    options = ReplayOptions(tenant=tenant, devices=3, messages=40, rate=20.0, faults=faults, labels_file=labels)
    summary = replay(options, settings(mosquitto), never)
    assert summary.faults == 3
    assert summary.acknowledged == summary.messages
    eventually(lambda: subscriber.count() >= summary.messages, "all messages")
    repeated = [seq for seq, times in Counter(subscriber.seqs("pump-01")).items() if times == 2]
    assert sorted(set(subscriber.seqs("pump-01"))) == list(range(40))
    assert len(repeated) > 5
    missing = set(range(40)) - set(subscriber.seqs("pump-02"))
    assert len(missing) == summary.withheld > 5
    written = [json.loads(line) for line in labels.read_text().splitlines()]
    assert {(w["device"], w["sensor"], w["kind"]) for w in written if w["kind"] != "recorded"} == {
        ("pump-01", "*", "duplicate"),
        ("pump-02", "*", "drop-out"),
        ("pump-03", "flow", "step"),
    }
    (step,) = (w for w in written if w["kind"] == "step")
    flow = {m["ts"] * 1000: m["values"]["flow"] for m in subscriber.telemetry["pump-03"]}
    inside = [value for at_us, value in flow.items() if step["from_us"] <= at_us <= step["to_us"]]
    outside = [value for at_us, value in flow.items() if not step["from_us"] <= at_us <= step["to_us"]]
    assert min(inside) > max(outside)


class Cable:
    """A TCP proxy that can be cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


def test_cut_connection_loses_nothing(mosquitto, tenant, subscriber):
    cable = Cable(mosquitto)
    running = Thread(ReplayOptions(tenant=tenant, devices=10, messages=1000, rate=200.0), settings(cable.address))
    for enough in (1000, 4000, 7000):
        eventually(lambda enough=enough: subscriber.count() >= enough, f"{enough} messages")
        cable.cut()
    summary = running.result()
    cable.close()
    assert summary.reconnects >= 10
    assert summary.messages == summary.acknowledged == 10_000
    eventually(lambda: all(set(subscriber.seqs(d)) == set(range(1000)) for d in names(10)), "every message")
    eventually(lambda: subscriber.status == dict.fromkeys(names(10), "offline"), "offline in the end")


class OwnBroker:
    """A Mosquitto of this test alone, to be started when it likes."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: tuple[str, int] = free.getsockname()
        self._folder = folder
        self._process: subprocess.Popen | None = None

    def start(self, *lines: str) -> None:
        config = self._folder / "mosquitto.conf"
        config.write_text("\n".join((f"listener {self.address[1]} 127.0.0.1", "user root", *lines)) + "\n")
        self._process = subprocess.Popen([Installation.find(1).mosquitto, "-c", str(config)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OwnBroker]:
    own = OwnBroker(tmp_path)
    yield own
    own.stop()


def test_broker_that_comes_later_is_waited_for(broker, tenant):
    running = Thread(ReplayOptions(tenant=tenant, devices=3, messages=5, rate=0.0), settings(broker.address))
    broker.start("allow_anonymous true")
    assert running.result().acknowledged == 15


def test_small_receive_maximum_of_the_broker_is_kept(broker, tenant):
    broker.start("allow_anonymous true", "max_inflight_messages 2")
    options = ReplayOptions(tenant=tenant, devices=4, connections=1, messages=100, rate=0.0)
    assert replay(options, settings(broker.address), never).acknowledged == 400


def test_absent_broker_does_not_hold_up_leaving(broker, tenant):
    running = Thread(ReplayOptions(tenant=tenant, devices=3), settings(broker.address))
    running.stop()
    assert running.result().messages == 0


def test_broker_that_wants_a_password_ends_the_replay_with_what_to_do(broker, tenant):
    broker.start("allow_anonymous false")
    with pytest.raises(ConfigurationError, match=r"refuses pump-01.*check username, password"):
        replay(ReplayOptions(tenant=tenant, devices=1), settings(broker.address), never)


def test_broker_that_forbids_the_topic_ends_the_replay_with_what_to_do(broker, tenant, tmp_path):
    (tmp_path / "acl").write_text("topic read #\n")
    broker.start("allow_anonymous true", f"acl_file {tmp_path / 'acl'}")
    with pytest.raises(ConfigurationError, match=r"refuses what pump-01 publishes.*check the ACL"):
        replay(ReplayOptions(tenant=tenant, devices=1), settings(broker.address), never)


def test_two_replays_of_the_same_devices_are_told_apart_from_a_broken_network(mosquitto, tenant):
    with capture_logs() as logs:
        replays = [Thread(ReplayOptions(tenant=tenant, devices=1), settings(mosquitto)) for _ in range(2)]
        eventually(lambda: any("another replay" in line.get("why", "") for line in logs), "a word on the other replay")
        for running in replays:
            running.stop()
            running.result()
    assert len(logs) < 10


def test_broker_that_says_why_it_hands_the_session_over_ends_the_replay(tenant):
    """Newer brokers send DISCONNECT, reason 0x8E."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Thread(ReplayOptions(tenant=tenant, devices=1), settings(listener.getsockname()))
        broker, _ = listener.accept()
        with broker:
            broker.recv(4096)
            broker.sendall(b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e")
            with pytest.raises(ConfigurationError, match="took over pump-01's session"):
                running.result()


def test_labels_file_that_cannot_be_written_is_refused(tenant, tmp_path):
    with pytest.raises(ConfigurationError, match="labels file"):
        replay(ReplayOptions(tenant=tenant, labels_file=tmp_path / "no" / "l.jsonl"), MqttSettings(), never)
