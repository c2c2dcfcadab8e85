"""What deploy/local writes for servers and supervisor, and how it picks ports and processes; no server is started."""

from __future__ import annotations

import configparser
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.errors import InstallFailed, NotInstalled, NotRunning, PortTaken, StackError, UnusablePath
from deploy.local.ports import LOOPBACK, Ports, is_free
from deploy.local.programs import Program, render_launcher, render_program, render_supervisord
from deploy.local.servers import (
    INFLUX_VERSIONS,
    KAFKA_VERSION,
    Installation,
    KafkaListener,
    chosen_influx_version,
    data_folders,
    install,
    render_configuration,
    server_programs,
)
from deploy.local.stack import Stack, socket_path

LOCAL = Path(__file__).parents[2] / "deploy" / "local"
RUN = Path("/srv/weir run")
PORTS = Ports(mqtt=21883, kafka=29092, kafka_controller=29093, influx=28086)
INSTALLATION = Installation("/usr/bin/java", Path("/cache/libs"), "/usr/sbin/mosquitto", Path("/cache/influxd"))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield int(server.getsockname()[1])


def properties(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def configuration(name: str) -> str:
    return render_configuration(RUN, PORTS)[RUN / name]


# Ports


def test_a_taken_port_is_named_with_its_server_and_the_way_out(taken_port: int) -> None:
    with pytest.raises(PortTaken, match=rf"port {taken_port} .*InfluxDB.*LOCAL_INFLUX_PORT="):
        Ports(21001, 21002, 21003, influx=taken_port).check_free()


def test_a_port_given_to_two_servers_is_taken() -> None:
    mine = Ports.free()
    with pytest.raises(PortTaken, match="Kafka's controller"):
        Ports(mine.mqtt, mine.kafka, mine.kafka, mine.influx).check_free()


def test_free_ports_are_four_and_out_of_reach_of_outgoing_connections() -> None:
    ports = Ports.free()
    ports.check_free()
    numbers = {ports.mqtt, ports.kafka, ports.kafka_controller, ports.influx}
    assert len(numbers) == 4
    assert max(numbers) < 32768


def test_a_listener_on_all_addresses_takes_the_loopback_port() -> None:
    with socket.create_server(("", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_ports_come_from_the_environment_where_it_says_so() -> None:
    assert Ports.from_environment({"LOCAL_KAFKA_PORT": "19092", "LOCAL_MQTT_PORT": ""}) == Ports(kafka=19092)


@pytest.mark.parametrize("nonsense", ["0", "65536", "-1", "mqtt", "1883 "])
def test_a_port_that_is_none_is_refused_by_its_variable(nonsense: str) -> None:
    with pytest.raises(StackError, match="LOCAL_MQTT_PORT"):
        Ports.from_environment({"LOCAL_MQTT_PORT": nonsense})


def test_the_influxdb_is_chosen_by_the_environment() -> None:
    assert chosen_influx_version({}) == 1
    assert chosen_influx_version({"LOCAL_INFLUX": "2"}) == 2
    with pytest.raises(StackError, match="LOCAL_INFLUX"):
        chosen_influx_version({"LOCAL_INFLUX": "3"})


# Configuration of the servers


def test_kafka_listens_on_loopback_only_and_takes_a_mebibyte() -> None:
    kafka = properties(configuration("kafka/server.properties"))
    assert kafka["listeners"] == "PLAINTEXT://127.0.0.1:29092,CONTROLLER://127.0.0.1:29093"
    assert kafka["advertised.listeners"] == "PLAINTEXT://127.0.0.1:29092"
    assert kafka["controller.quorum.voters"] == "1@127.0.0.1:29093"
    assert kafka["auto.create.topics.enable"] == "false"
    assert int(kafka["message.max.bytes"]) > 1_048_576 + 65_536


def test_kafka_sends_who_comes_by_another_listener_on_to_that_ones_advertised_port() -> None:
    more = (KafkaListener("SINK", 30001, 30002), KafkaListener("BRIDGE", 30003, 30004))
    kafka = properties(render_configuration(RUN, PORTS, more)[RUN / "kafka/server.properties"])
    assert kafka["listeners"].split(",")[2:] == ["SINK://127.0.0.1:30001", "BRIDGE://127.0.0.1:30003"]
    assert kafka["advertised.listeners"].split(",")[1:] == ["SINK://127.0.0.1:30002", "BRIDGE://127.0.0.1:30004"]
    assert kafka["listener.security.protocol.map"].split(",")[2:] == ["SINK:PLAINTEXT", "BRIDGE:PLAINTEXT"]


def test_kafka_reads_back_a_path_with_any_letters() -> None:
    run = Path("/home/jürgen/気温")
    text = render_configuration(run, PORTS)[run / "kafka/server.properties"]
    text.encode("ascii")  # Java would read anything else as Latin-1
    assert json.loads(f'"{properties(text)["log.dirs"]}"') == str(run / "data/kafka")


def test_mosquitto_listens_on_loopback_only_and_keeps_sessions_in_the_run_folder() -> None:
    lines = configuration("mosquitto/mosquitto.conf").splitlines()
    assert "listener 21883 127.0.0.1" in lines
    assert "persistence true" in lines
    assert f"persistence_location {RUN}/data/mosquitto/" in lines
    assert "max_queued_messages 0" in lines
    assert "user root" in lines


def test_influxdb_listens_on_loopback_only_and_can_run_twice() -> None:
    text = configuration("influxdb/influxdb.conf")
    assert '  bind-address = "127.0.0.1:28086"' in text
    assert 'bind-address = "127.0.0.1:0"' in text
    assert 'index-version = "tsi1"' in text
    assert "flux-enabled = true" in text


def test_no_rendered_file_has_a_gap_left() -> None:
    for path, text in render_configuration(RUN, PORTS).items():
        assert "${" not in text, path


def test_each_influxdb_has_data_of_its_own() -> None:
    assert data_folders(RUN, 1)["influxdb"] != data_folders(RUN, 2)["influxdb"]
    *_, influxdb = server_programs(INSTALLATION, RUN, PORTS, 2)
    assert "--http-bind-address=127.0.0.1:28086" in influxdb.command
    assert f"--engine-path={RUN}/data/influxdb-2.7.12/engine" in influxdb.command


def test_versions_are_those_that_install_puts_in_place() -> None:
    script = (LOCAL / "install.sh").read_text()
    assert f"<kafka.version>{KAFKA_VERSION}</kafka.version>" in (LOCAL / "pom.xml").read_text()
    assert f"$cache/kafka-{KAFKA_VERSION}\n" in script
    for version in INFLUX_VERSIONS.values():
        assert f"$cache/influxdb-{version}\n" in script
    assert f"influxdb/v2 v{INFLUX_VERSIONS[2]}" in (LOCAL / "influx2" / "go.mod").read_text()


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with what install.sh takes for granted; and an empty cache."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "bash",
        "cat",
        "chmod",
        "cut",
        "dirname",
        "env",
        "head",
        "id",
        "mkdir",
        "mv",
        "rm",
        "sed",
        "sh",
        "sha256sum",
    ):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    (tools / "tail").symlink_to("/usr/bin/tail")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("LOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOCAL_INFLUX", raising=False)
    return tools


def put(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_missing_prerequisites_are_named_before_any_work(
    toolbox: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put(toolbox / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(InstallFailed) as failed:
        install()
    assert failed.value.exit_code == 69
    said = capfd.readouterr().err
    assert "install: java is version 11: Kafka needs 17" in said
    for tool in ("mvn", "go", "python3", "flock"):
        assert f"install: {tool} is not on PATH: install" in said
    assert not (tmp_path / "cache").exists()


def test_an_install_that_broke_off_is_done_again_and_a_finished_one_is_not(
    toolbox: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for tool in ("flock", "python3", "touch"):
        (toolbox / tool).symlink_to(f"/usr/bin/{tool}")
    put(toolbox / "java", "echo 'openjdk version \"17.0.2\"' >&2")
    put(toolbox / "mosquitto", "echo mosquitto version 2.0.11; exit 3")
    put(toolbox / "go", 'mkdir -p "$GOBIN"; echo > "$GOBIN/influxd"; chmod +x "$GOBIN/influxd"')
    unpack = 'for last; do :; done; libs=${last#-DoutputDirectory=}; mkdir -p "$libs"; touch "$libs/kafka.jar"'

    put(toolbox / "mvn", f"{unpack}; echo the network is down; exit 1")
    with pytest.raises(InstallFailed) as failed:
        install()
    assert failed.value.exit_code == 1
    assert "the network is down" in capfd.readouterr().err
    with pytest.raises(NotInstalled, match="Kafka"):
        Installation.find(1)

    put(toolbox / "mvn", unpack)
    install()
    assert (Installation.find(1).kafka_libs / "kafka.jar").exists()
    assert not (tmp_path / "cache" / "tmp").exists()

    put(toolbox / "mvn", "exit 1")
    install()


# Programs and supervisor


def test_a_launcher_hands_over_any_value_and_keeps_the_stacks_settings_under_the_programs_own() -> None:
    tricky = 'it\'s "quoted" $HOME %d ;# `x`\nsecond line'
    show = "import json, os, sys; print(json.dumps([os.environ['TRICKY'], os.environ['BOTH'], sys.argv[1]]))"
    program = Program("show", (sys.executable, "-c", show, tricky), {"TRICKY": tricky, "BOTH": "program"})
    script = render_launcher(program, {"BOTH": "stack"})
    shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert json.loads(shown.stdout) == [tricky, "program", tricky]


def test_supervisord_restarts_every_program_and_stops_programs_before_servers() -> None:
    priorities = []
    for program in (*server_programs(INSTALLATION, RUN, PORTS, 1), Program("bridge", ("weir", "bridge"), {})):
        parser = configparser.RawConfigParser()
        parser.read_string(render_program(program, RUN / "programs" / "p.sh", RUN / "logs" / "p.log"))
        section = parser[f"program:{program.name}"]
        assert section["autorestart"] == "true"
        assert section["command"] == "/bin/sh '/srv/weir run/programs/p.sh'"
        assert section.getint("stopwaitsecs") == program.stop_seconds
        priorities.append(section.getint("priority"))
    assert max(priorities[:-1]) < priorities[-1]


def test_supervisord_runs_as_root_only_when_told() -> None:
    def user(*, as_root: bool) -> str | None:
        parser = configparser.RawConfigParser()
        parser.read_string(render_supervisord(RUN, RUN / "s.sock", as_root=as_root, open_files=1024))
        return parser["supervisord"].get("user")

    assert user(as_root=True) == "root"
    assert user(as_root=False) is None


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b"])
def test_a_program_needs_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Program(name, ("true",), {})


# The stack


def test_the_supervisors_socket_fits_however_long_the_run_folder_is() -> None:
    short, long = Path("/run/weir"), Path("/") / ("x" * 200)
    assert socket_path(short) == short / "supervisor.sock"
    assert len(os.fsencode(socket_path(long))) < 100
    assert socket_path(long) != socket_path(long / "other")


def test_services_are_told_where_the_servers_are() -> None:
    assert Stack(RUN, PORTS).environment() == {
        "WEIR_MQTT__HOST": "127.0.0.1",
        "WEIR_MQTT__PORT": "21883",
        "WEIR_KAFKA__BOOTSTRAP": "127.0.0.1:29092",
        "WEIR_INFLUX__URL": "http://127.0.0.1:28086",
    }
    assert Stack(RUN, PORTS, influx_version=2).environment()["WEIR_INFLUX__ORG"] == "weir"


@pytest.mark.parametrize("character", list("%;#,"))
def test_a_run_folder_that_a_server_would_misread_is_refused(character: str, tmp_path: Path) -> None:
    with pytest.raises(UnusablePath, match=character):
        Stack(tmp_path / f"a{character}b", PORTS).start()
    assert not list(tmp_path.iterdir())


def test_attaching_where_nothing_was_started_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="weir up"):
        Stack.attach(tmp_path)


def test_a_stack_that_was_never_started_can_be_asked_and_stopped(tmp_path: Path) -> None:
    stack = Stack(tmp_path, PORTS)
    assert not stack.is_running()
    stack.stop()
    with pytest.raises(NotRunning):
        stack.states()


def test_only_processes_of_the_run_folder_are_signalled(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    sleeper = subprocess.Popen(["sleep", "600"], env={processes.RUN_VARIABLE: str(ours)})
    try:
        assert processes.wait_gone(lambda: [] if processes.processes_of(ours) else [0], deadline_s=30) == []
        assert processes.processes_of(other) == []
        processes.send(other, sleeper.pid, signal.SIGKILL)
        assert sleeper.poll() is None
        processes.send(ours, sleeper.pid, signal.SIGKILL)
        assert sleeper.wait(30) == -signal.SIGKILL
        assert processes.processes_of(ours) == []
    finally:
        sleeper.kill()
        sleeper.wait()
