"""The commands on the real thing: `weir up`, five devices, and what status, tail, trace and doctor say; `weir down`."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.local import processes
from deploy.local.ports import Ports, is_free
from schemas import mqtt
from services.console.readiness import tail_of

START_S = 300
DEADLINE_S = 150
MESSAGES, DEVICES = 500, 5
BASE_S = 1_000_000


def free_ports(count):
    found = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        if port not in found and is_free(port):
            found.append(port)
    return found


@pytest.fixture
def weir(tmp_path, influx_version):
    """Runs `weir ...` in a run folder and on ports of its own; whatever is left at the end is stopped."""
    servers = Ports.free()
    bridge, stream, sink, alerts = free_ports(4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WEIR_", "LOCAL_"))} | {
        "LOCAL_RUN_DIR": str(tmp_path / "run"),
        "LOCAL_INFLUX": str(influx_version),
        "LOCAL_MQTT_PORT": str(servers.mqtt),
        "LOCAL_KAFKA_PORT": str(servers.kafka),
        "LOCAL_KAFKA_CONTROLLER_PORT": str(servers.kafka_controller),
        "LOCAL_INFLUX_PORT": str(servers.influx),
        "WEIR_BRIDGE__HTTP_PORT": str(bridge),
        "WEIR_STREAM__HTTP_PORT": str(stream),
        "WEIR_SINK__HTTP_PORT": str(sink),
        "WEIR_ALERTS__HTTP_PORT": str(alerts),
        "COLUMNS": "200",
    }
    yield Weir(environment, servers.mqtt, tmp_path / "run")
    # Shown by pytest where the test has failed.
    for log in sorted((tmp_path / "run" / "logs").glob("*.log")):
        sys.stdout.write(f"--- {log.name}\n{tail_of(log)}\n")
    subprocess.run([*COMMAND, "down"], env=environment, check=False, timeout=DEADLINE_S)


COMMAND = [sys.executable, "-m", "services.cli"]


class Weir:
    def __init__(self, environment, mqtt_port, run_dir):
        self.environment, self.mqtt_port, self.run_dir = environment, mqtt_port, run_dir

    def __call__(self, *arguments, code=0, seconds=DEADLINE_S, **settings):
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == code, f"weir {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *arguments):
        return subprocess.Popen(
            [*COMMAND, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def publish(port, base_us):
    """500 messages of five devices, the last of each without JSON; returns once the broker has taken all."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = []
    for n in range(MESSAGES):
        device, seq = f"device-{n % DEVICES}", n // DEVICES
        payload = {"ts": (base_us + seq * 1_000_000) // 1000, "seq": seq, "values": {"temperature": 20.0 + seq / 100}}
        text = json.dumps(payload) if seq < MESSAGES // DEVICES - 1 else "{oops"
        sent.append(client.publish(mqtt.telemetry_topic("acme", "site-1", device), text, qos=1))
    for each in sent:
        each.wait_for_publish(DEADLINE_S)
    client.disconnect()
    client.loop_stop()


def eventually(look, *, seconds=DEADLINE_S):
    """The first answer of `look` that is true."""
    end = time.monotonic() + seconds
    while not (answer := look()) and time.monotonic() < end:
        time.sleep(1.0)
    assert answer, "not in time"
    return answer


def test_a_person_can_follow_500_messages_from_mqtt_to_influxdb(weir):
    said = weir("up", "--detach", "--timeout", str(START_S), seconds=2 * START_S)
    assert f"MQTT 127.0.0.1:{weir.mqtt_port}" in said
    assert "already running" in weir("up", "--detach", code=78)

    base_us = (int(time.time()) - MESSAGES // DEVICES) * 1_000_000
    publish(weir.mqtt_port, base_us)
    decoded = MESSAGES - DEVICES

    def settled():
        status = json.loads(weir("status", "--json"))
        lag = {
            topic: n
            for group in status["groups"].values()
            for topic, n in group["lag"].items()
            if "metrics" not in topic
        }
        # `weir-sink` has written what it has committed; weir-metrics never stands still.
        done = status["ledger"]["received"] == MESSAGES and not any(lag.values())
        return status if done else None

    status = eventually(settled)
    assert status["ok"]
    assert status["problems"] == []
    assert set(status["services"]) == {"bridge", "stream", "sink", "alerts"}
    assert all(service["ready"] and service["pid"] for service in status["services"].values())
    ledger = status["ledger"]
    assert (ledger["decoded"], ledger["readings_stored"]) == (decoded, decoded)
    assert ledger["dead_messages"] == {"malformed": DEVICES}
    assert ledger["missing_messages"] == ledger["missing_readings"] == 0
    assert status["dead_letters"] == {"malformed": DEVICES}
    readable = weir("status")
    assert f"received {MESSAGES} = decoded {decoded} + dead-lettered {DEVICES} + redelivered 0" in readable
    assert "✓ everything is fine" in readable

    cleaned = weir("tail", "clean", "--device", "acme/device-3", "--last", "1000", "--no-follow", "--json").splitlines()
    seqs = [json.loads(line)["record"]["seq"] for line in cleaned]
    assert seqs == list(range(MESSAGES // DEVICES - 1))
    letters = weir("tail", "dead-letter", "--reason", "malformed", "--no-follow").splitlines()
    assert len(letters) == DEVICES
    assert all("{oops" in line for line in letters)

    at_us = base_us + 50 * 1_000_000
    story = json.loads(weir("trace", "acme/device-3", "--at", str(at_us), "--json"))
    assert story["clean"]["seq"] == 50
    assert story["clean"]["values"] == {"temperature": 20.5}
    assert story["raw"]["mqtt_topic"] == "weir/v1/acme/site-1/device-3/telemetry"
    assert story["score"]["id"] == story["clean"]["id"]
    assert 10_000_000 in {window["width_us"] for window in story["windows"]}
    readings = [point for point in story["points"] if point["measurement"] == "readings"]
    assert [(point["fields"], point["time_ns"]) for point in readings] == [({"value": 20.5}, at_us * 1000 + 50)]
    told = weir("trace", "acme/device-3", "--at", str(at_us // 1000))
    assert f"partition {story['raw']['partition']} offset {story['raw']['offset']}" in told
    assert "has no reading" in weir("trace", "acme/device-3", "--at", "2001-01-01", code=1)

    report = weir("doctor").splitlines()
    assert not [line for line in report if line.startswith("✗")]
    for subject in ("Kafka topics", "MQTT", "InfluxDB bucket telemetry_long", "weir stream", "disk"):
        assert any(line.startswith((f"✓ {subject}", f"! {subject}")) for line in report), report
    wrong = weir("doctor", code=1, WEIR_KAFKA__BOOTSTRAP="127.0.0.1:1")
    assert "✗ Kafka: nobody listens at 127.0.0.1:1" in wrong

    assert "stopped" in weir("down")
    assert processes.processes_of(weir.run_dir) == []
    assert "nothing runs" in weir("down")
    assert "bridge: nothing answers" in weir("status", code=1)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_up_shows_the_demo_and_ends_with_all_of_it(weir, ending):
    started = weir.start("up", "--devices", "3", "--timeout", str(START_S))
    # A process that says nothing more would keep us reading for ever.
    patience = threading.Timer(2 * START_S, started.kill)
    patience.start()
    try:
        said = []
        for line in started.stdout:
            said.append(line)
            assert "Traceback" not in line
            if re.search(r"bridge [\d.]+/s .*devices 3 .*ledger [1-9]\d* = .* adds up", line):
                break
        started.send_signal(ending)
        left = started.stdout.read()
        assert started.wait(DEADLINE_S) == 0, "".join([*said, left])
    finally:
        patience.cancel()
        started.kill()
        started.wait()
        started.stdout.close()
    assert "stopped" in left
    assert processes.processes_of(weir.run_dir) == []
