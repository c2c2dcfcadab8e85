"""The local stack with the real servers: what goes in comes out, what is killed comes back, nothing is left behind."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import urllib3
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from paho.mqtt.enums import CallbackAPIVersion

from deploy.local import processes
from deploy.local.databases import INFLUX_TOKEN
from deploy.local.errors import AlreadyRunning, NotRunning, PortTaken, UnknownProgram
from deploy.local.ports import Ports
from deploy.local.programs import Program
from deploy.local.servers import InfluxVersion
from deploy.local.stack import Stack

DEADLINE_SECONDS = 180.0

# InfluxDB 2 wants it, 1.8 does not look at it.
AUTHORIZED = {"Authorization": f"Token {INFLUX_TOKEN}"}


def wait_for(what: str, condition: Callable[[], object], deadline_s: float = DEADLINE_SECONDS) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


def create_topic(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    refused: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 2_000_000, "acks": "all"})
    producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(60) == 0
    assert not refused


def consume_one(bootstrap: str, topic: str) -> bytes:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(60)
        assert message is not None
        assert message.error() is None
        value = message.value()
        assert value is not None
        return value
    finally:
        consumer.close()


def mqtt_client(address: tuple[str, int], client_id: str) -> Iterator[tuple[mqtt.Client, queue.Queue[bytes]]]:
    """A connected client with a session that outlives it, and what it receives on `client_id`/#."""
    received: queue.Queue[bytes] = queue.Queue()
    subscribed: queue.Queue[None] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    client.on_connect = lambda *_: client.subscribe(f"{client_id}/#", qos=1)
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.on_message = lambda _client, _userdata, message: received.put(message.payload)
    client.connect(*address)
    client.loop_start()
    try:
        subscribed.get(timeout=60)
        yield client, received
    finally:
        client.disconnect()
        client.loop_stop()


def write_point(url: str, value: float, database: str = "telemetry", days_ago: int = 0) -> int:
    line = f"kept value={value} {int(time.time()) - days_ago * 86_400}"
    return urllib3.request("POST", f"{url}/write?db={database}&precision=s", body=line, headers=AUTHORIZED).status


def query(url: str, statement: str, database: str = "telemetry") -> list[list[object]]:
    response = urllib3.request("GET", f"{url}/query", fields={"db": database, "q": statement}, headers=AUTHORIZED)
    result = response.json()["results"][0]
    return [row for series in result.get("series", []) for row in series["values"]]


def command_lines() -> str:
    return subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout


# The shared stack


def test_kafka_takes_and_gives_a_record_of_a_mebibyte(kafka: str) -> None:
    create_topic(kafka, "local-stack-large")
    produce(kafka, "local-stack-large", b"x" * 1_048_576)
    assert len(consume_one(kafka, "local-stack-large")) == 1_048_576


def test_kafka_creates_no_topic_by_itself(kafka: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "topic.metadata.propagation.max.ms": 0})
    refused: list[object] = []
    producer.produce("local-stack-misspelt", b"x", on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(60) == 0
    assert "UNKNOWN_TOPIC" in str(refused) or "Unknown topic" in str(refused)


def test_mosquitto_carries_a_message_that_is_too_large_for_weir(mosquitto: tuple[str, int]) -> None:
    for client, received in mqtt_client(mosquitto, "local-stack-large"):
        client.publish("local-stack-large/x", b"x" * 307_200, qos=1)
        assert len(received.get(timeout=60)) == 307_200


@pytest.mark.parametrize(
    ("database", "days_kept", "days_dropped"), [("telemetry", 29, 31), ("telemetry_long", 700, 760)]
)
def test_influxdb_keeps_each_database_for_its_time(
    influxdb: str, database: str, days_kept: int, days_dropped: int
) -> None:
    assert write_point(influxdb, 1.0, database, days_kept) == 204
    assert write_point(influxdb, 1.0, database, days_dropped) in (400, 422)


def test_a_stack_is_refused_where_one_runs_or_its_ports_are_taken(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(AlreadyRunning):
        Stack(stack.run_dir, stack.ports).start()
    with pytest.raises(PortTaken, match=str(stack.ports.mqtt)):
        Stack(tmp_path, stack.ports).start()


def test_a_program_that_does_not_exist_is_named_with_those_that_do(stack: Stack) -> None:
    with pytest.raises(UnknownProgram, match="influxdb, kafka, mosquitto"):
        stack.pid("grafana")
    with pytest.raises(UnknownProgram, match="influxdb, kafka, mosquitto"):
        stack.restart("grafana")


# A stack of its own, to be killed


def test_data_outlives_kills_and_a_restart(influx_version: InfluxVersion, tmp_path: Path) -> None:
    # Letters that some formats stumble over, as in many a home folder.
    run_dir = tmp_path / "run für 気温"
    stack = Stack(run_dir, Ports.free(), influx_version=influx_version)
    stack.start(tied_to_caller=True)
    try:
        stack.wait_servers_ready(DEADLINE_SECONDS)
        create_topic(stack.kafka_bootstrap, "kept")
        produce(stack.kafka_bootstrap, "kept", b"record")
        assert write_point(stack.influx_url, 21.5) == 204
        keep_a_message_for_an_absent_client(stack)

        killed = {name: stack.pid(name) for name in ("kafka", "mosquitto", "influxdb")}
        for name in killed:
            stack.signal(name, signal.SIGKILL)
        wait_for("the supervisor starts what was killed", lambda: all_replaced(stack, killed))
        stack.wait_servers_ready(DEADLINE_SECONDS)
        assert query(stack.influx_url, "SELECT last(value) FROM kept")[0][1] == 21.5

        stack.stop()
        assert processes.processes_of(stack.run_dir) == []
        assert str(run_dir) not in command_lines()
        stack.ports.check_free()

        again = Stack(run_dir, Ports.free(), influx_version=influx_version)
        again.start(tied_to_caller=True)
        again.wait_servers_ready(DEADLINE_SECONDS)
        assert consume_one(again.kafka_bootstrap, "kept") == b"record"
        assert query(again.influx_url, "SELECT last(value) FROM kept")[0][1] == 21.5
        for _, received in mqtt_client(again.mqtt_address, "absent"):
            assert received.get(timeout=60) == b"message"
    finally:
        Stack.attach(run_dir).stop()
    assert processes.processes_of(run_dir) == []


def all_replaced(stack: Stack, killed: dict[str, int]) -> bool:
    states = stack.states()
    return all(states[name].state == "RUNNING" and states[name].pid != pid for name, pid in killed.items())


def keep_a_message_for_an_absent_client(stack: Stack) -> None:
    """Returns when Mosquitto has it on disk."""
    for _ in mqtt_client(stack.mqtt_address, "absent"):
        pass
    for sender, _ in mqtt_client(stack.mqtt_address, "sender"):
        sender.publish("absent/x", b"message", qos=1).wait_for_publish(60)
    database = stack.run_dir / "data" / "mosquitto" / "mosquitto.db"
    wait_for("Mosquitto saves", lambda: database.exists() and b"absent/x" in database.read_bytes())


def test_programs_run_beside_the_servers_and_stop_before_them(influx_version: InfluxVersion, tmp_path: Path) -> None:
    tell = "import json, os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(json.dumps(dict(os.environ)))"
    told = [tmp_path / "first.json", tmp_path / "later.json"]
    first, later = (
        Program(path.stem, (sys.executable, "-c", f"{tell}; time.sleep(600)", str(path)), {"NAME": path.stem})
        for path in told
    )
    stack = Stack(tmp_path / "run", Ports.free(), [first], influx_version)
    stack.start(tied_to_caller=True)
    try:
        stack.add_programs([later])
        wait_for("both programs have run", lambda: all(path.exists() and path.read_text() for path in told))
        for path in told:
            environment = json.loads(path.read_text())
            assert environment["NAME"] == path.stem
            assert environment["WEIR_KAFKA__BOOTSTRAP"] == stack.kafka_bootstrap

        attached = Stack.attach(tmp_path / "run")
        assert attached.ports == stack.ports
        assert set(attached.states()) == {"kafka", "mosquitto", "influxdb", "first", "later"}
        before = attached.pid("first")
        attached.restart("first")
        assert attached.pid("first") not in (0, before)
        attached.stop_program("first")
        assert attached.pid("first") == 0
        attached.start_program("first")
        assert attached.states()["first"].state == "RUNNING"
    finally:
        stack.stop()
    stopped = [
        line for line in (tmp_path / "run" / "logs" / "supervisord.log").read_text().splitlines() if "stopped:" in line
    ]
    order = [line.split("stopped: ")[1].split()[0] for line in stopped][-5:]
    assert set(order[:2]) == {"first", "later"}
    assert set(order[2:]) == {"kafka", "mosquitto", "influxdb"}


START_AND_WAIT = """
import signal, sys
from pathlib import Path
from deploy.local.ports import Ports
from deploy.local.stack import Stack
stack = Stack(Path(sys.argv[1]), Ports.free(), influx_version=int(sys.argv[3]))
stack.start(tied_to_caller=sys.argv[2] == "tied")
print("started", flush=True)
signal.pause()
"""


def start_elsewhere(run_dir: Path, how: str, influx_version: InfluxVersion) -> subprocess.Popen[bytes]:
    """A process that has started a stack, and waits."""
    starter = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(run_dir), how, str(influx_version)], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"started\n"
    return starter


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_a_stack_tied_to_its_starter_ends_with_it(influx_version: InfluxVersion, tmp_path: Path) -> None:
    starter = start_elsewhere(tmp_path, "tied", influx_version)
    assert Stack.attach(tmp_path).is_running()
    kill(starter)
    try:
        wait_for("no process is left", lambda: not processes.processes_of(tmp_path))
    finally:
        Stack.attach(tmp_path).stop()


def test_what_a_killed_starter_and_a_killed_supervisor_leave_behind_can_be_stopped(
    influx_version: InfluxVersion, tmp_path: Path
) -> None:
    starter = start_elsewhere(tmp_path, "free", influx_version)
    kill(starter)
    stack = Stack.attach(tmp_path)
    try:
        wait_for("the stack outlives its starter", lambda: all(x.state == "RUNNING" for x in stack.states().values()))
        [supervisord] = processes.supervisors_of(tmp_path)
        processes.send(tmp_path, supervisord, signal.SIGKILL)
        wait_for("the supervisor is dead", lambda: not stack.is_running())
        assert len(processes.processes_of(tmp_path)) == 3, "the servers are orphans now"
        with pytest.raises(NotRunning):
            stack.states()
    finally:
        stack.stop()
    assert processes.processes_of(tmp_path) == []
    assert str(tmp_path) not in command_lines()
