"""The container's Mosquitto configuration, run by the Mosquitto of this machine: who may do what."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "deploy/mosquitto"
DEADLINE_S = 60
WEIR = ("weir", "Aa0._~+/=-")
DEVICES = ("devices", "device-password")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The configuration with its paths, port and user moved to where a test may write."""
    root = tmp_path_factory.mktemp("mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("run", "etc", "data"):
        (root / name).mkdir()
    for path in SOURCE.iterdir():
        text = path.read_text().replace("/run/weir", f"{root}/run").replace("/etc/weir", f"{root}/etc")
        text = text.replace("/mosquitto/data/", f"{root}/data/")
        text = text.replace("\nlistener 1883\n", f"\nlistener {port} 127.0.0.1\nuser root\n")
        (root / "etc" / path.name).write_text(text)
    (root / "port").write_text(str(port))
    return root


def start(folder, **passwords):
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin", **passwords}
    return subprocess.Popen(["sh", str(folder / "etc/start.sh")], env=environment, stderr=subprocess.PIPE)


def client(folder, tool, account, *arguments):
    """Run mosquitto_pub or mosquitto_sub: its exit code and output."""
    who = ["-u", account[0], "-P", account[1]] if account else []
    command = [tool, "-V", "5", "-p", (folder / "port").read_text(), *who, *arguments]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE_S, text=True, check=False)
    return done.returncode, done.stdout.strip()


def uptime_by_health_check(folder):
    """The compose file's health check: mosquitto_sub with what start.sh wrote."""
    command = ["mosquitto_sub", "-p", (folder / "port").read_text(), "-t", "$SYS/broker/uptime", "-C", "1", "-W", "4"]
    environment = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(folder / "run")}
    return subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE_S, check=False).returncode


@pytest.fixture(scope="module")
def broker(folder, influx_version):
    process = start(folder, MQTT_PASSWORD=WEIR[1], MQTT_DEVICES_PASSWORD=DEVICES[1])
    deadline = time.monotonic() + DEADLINE_S
    while uptime_by_health_check(folder) != 0:
        assert time.monotonic() < deadline, "not healthy by the deadline"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    yield folder
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)


def retain(folder, account, topic, payload):
    return client(folder, "mosquitto_pub", account, "-q", "1", "-r", "-t", topic, "-m", payload)


def read(folder, account, topic):
    return client(folder, "mosquitto_sub", account, "-t", topic, "-C", "1", "-W", "2")[1]


def test_the_password_file_holds_no_password(broker):
    text = (broker / "run/passwords").read_text()
    assert text.startswith("weir:$7$")
    assert "\ndevices:$7$" in text
    assert WEIR[1] not in text
    assert DEVICES[1] not in text
    assert (broker / "run/passwords").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("account", [None, ("weir", "wrong"), ("nobody", DEVICES[1])])
def test_strangers_are_refused(broker, account):
    code, _ = client(broker, "mosquitto_pub", account, "-t", "weir/v1/a/b/c/telemetry", "-m", "{}")
    assert code != 0


def test_what_devices_publish_reaches_weir_and_no_other_device(broker):
    retain(broker, DEVICES, "weir/v1/acme/hall/pump/status", "online")
    assert read(broker, WEIR, "weir/v1/#") == "online"
    assert read(broker, DEVICES, "weir/v1/#") == ""


def test_alarms_come_from_weir_alone(broker):
    retain(broker, WEIR, "weir-out/v1/acme/hall/pump/alarms", "raised")
    retain(broker, DEVICES, "weir-out/v1/acme/hall/pump/alarms", "forged")
    assert read(broker, DEVICES, "weir-out/v1/#") == "raised"


def test_weir_can_not_speak_for_a_device(broker):
    retain(broker, WEIR, "weir/v1/acme/hall/other/status", "forged")
    assert read(broker, WEIR, "weir/v1/acme/hall/other/status") == ""


@pytest.mark.parametrize("password", ["", "with space", "with:colon", "with\nline", 'with"quote'])
def test_a_password_that_the_file_can_not_hold_is_refused(folder, password):
    process = start(folder, MQTT_PASSWORD=password, MQTT_DEVICES_PASSWORD=DEVICES[1])
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 78
    assert b"MQTT_PASSWORD" in said
    assert password == "" or password.encode() not in said
