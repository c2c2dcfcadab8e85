"""How `weir up` waits, what it refuses, and how commands end."""

from __future__ import annotations

import socket

import pytest
from typer.testing import CliRunner

from deploy.local.errors import AlreadyRunning, NotInstalled, PortTaken, ServersNotReady, StackError
from deploy.local.supervision import ProgramState
from services.cli import app
from services.console import ending, programs, readiness, replay
from services.console.health_probe import Answer, HealthProbe
from services.console.readiness import ServiceDies, ServicesNotReady, wait_ready
from services.runtime.errors import ConfigurationError, Defect, ExitCode, Unavailable
from services.simulator.options import ReplayOptions


class Supervisor:
    """Gives a program a new process each time it is asked, where it keeps dying."""

    def __init__(self, folder, *, dying=()):
        self._folder = folder
        self._dying = dying
        self._asked = 0

    def states(self):
        self._asked += 1
        return {
            name: ProgramState("RUNNING", 100 + self._asked if name in self._dying else 99, 1.0)
            for name in ("bridge", "sink")
        }

    def log_path(self, name):
        return self._folder / f"{name}.log"


class Probe:
    def __init__(self, **answers):
        self._answers = answers

    def ask(self, service):
        answer = self._answers[service]
        return answer.pop(0) if isinstance(answer, list) else answer


READY = Answer(ok=True)
WAITING = Answer(ok=False, waiting_for={"kafka": "topics not there yet"})


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(readiness, "_POLL_S", 0.0)


def test_it_waits_until_each_service_is_ready(tmp_path, at_once):
    probe = Probe(bridge=READY, sink=[WAITING, WAITING, READY])
    wait_ready(Supervisor(tmp_path), probe, ("bridge", "sink"), 60.0)


def test_a_service_that_keeps_dying_is_named_with_the_end_of_its_log(tmp_path, at_once):
    (tmp_path / "sink.log").write_text("".join(f"line {n}\n" for n in range(100)))
    with pytest.raises(ServiceDies) as raised:
        wait_ready(Supervisor(tmp_path, dying=("sink",)), Probe(bridge=READY, sink=WAITING), ("bridge", "sink"), 60.0)
    assert "sink ends again and again" in str(raised.value)
    assert "line 99" in str(raised.value)
    assert "line 80" not in str(raised.value)


def test_a_service_that_is_not_ready_in_time_is_named_with_what_it_waits_for(tmp_path, at_once):
    with pytest.raises(ServicesNotReady, match="sink: kafka: topics not there yet"):
        wait_ready(Supervisor(tmp_path), Probe(bridge=READY, sink=WAITING), ("bridge", "sink"), 0.05)


def test_a_taken_health_port_is_refused_with_the_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* WEIR_SINK__HTTP_PORT=<port>"):
            programs.check_http_ports({"sink": port})


def test_two_services_cannot_share_a_health_port_and_none_may_choose_its_own():
    with pytest.raises(ConfigurationError, match="WEIR_SINK__HTTP_PORT=28461: another service"):
        programs.check_http_ports({"bridge": 28461, "sink": 28461})
    with pytest.raises(ConfigurationError, match="WEIR_BRIDGE__HTTP_PORT=0"):
        programs.check_http_ports({"bridge": 0})


def test_what_answers_and_is_not_weir_is_told_apart_from_silence():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        answer = HealthProbe({"sink": silent.getsockname()[1]}).ask("sink")
    assert not answer.reached
    assert "nothing answers" in answer.text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("away"), ExitCode.UNAVAILABLE),
        (ConfigurationError("wrong"), ExitCode.CONFIGURATION),
        (Defect("ours"), ExitCode.DEFECT),
        (PortTaken("Kafka", 9092, "LOCAL_KAFKA_PORT"), ExitCode.CONFIGURATION),
        (AlreadyRunning("/run"), ExitCode.CONFIGURATION),
        (NotInstalled("Kafka", "/cache"), ExitCode.UNAVAILABLE),
        (ServersNotReady(5, {}, {}), ExitCode.UNAVAILABLE),
        (StackError("odd"), ExitCode.CONFIGURATION),
    ],
)
def test_an_error_made_on_purpose_is_a_message_and_a_code(error, code, capsys):
    def command():
        raise error

    assert ending.exit_code_of(command) == code
    assert capsys.readouterr().err == f"weir: {error}\n"


def test_a_defect_keeps_its_traceback(capsys):
    def command():
        raise ZeroDivisionError

    assert ending.exit_code_of(command) == ExitCode.DEFECT
    assert "Traceback" in capsys.readouterr().err


def test_down_is_fine_when_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCAL_RUN_DIR", str(tmp_path / "never"))
    result = CliRunner().invoke(app, ["down"])
    assert result.exit_code == 0
    assert "nothing runs" in result.output


@pytest.mark.parametrize("command", ["up", "down", "status", "tail", "trace", "doctor", "replay", "config"])
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0


def test_replay_passes_each_option_on(monkeypatch):
    seen = []
    monkeypatch.setattr(replay, "run", lambda options: seen.append(options) or 0)
    told = (
        "replay a.csv b.csv --devices 3 --prefix fan --tenant acme --site x --site y --speed 60 --start 1777636800"
        " --duration 5 --once --messages 9 --fault random --labels /tmp/l --seed 4 --connections 2"
    )
    assert CliRunner().invoke(app, told.split()).exit_code == 0
    (options,) = seen
    assert options.files == ("a.csv", "b.csv")
    assert (options.devices, options.prefix, options.tenant, options.sites) == (3, "fan", "acme", ("x", "y"))
    assert (options.rate, options.speed, options.start_us) == (None, 60.0, 1_777_636_800_000_000)
    assert (options.duration_s, options.once, options.messages, options.seed) == (5.0, True, 9, 4)
    assert (options.faults, str(options.labels_file), options.connections) == (("random",), "/tmp/l", 2)


def test_replay_without_a_pace_sends_one_reading_a_second(monkeypatch):
    seen = []
    monkeypatch.setattr(replay, "run", lambda options: seen.append(options) or 0)
    assert CliRunner().invoke(app, ["replay"]).exit_code == 0
    assert seen == [ReplayOptions()]


def test_a_fault_that_cannot_be_read_ends_with_a_message(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCAL_RUN_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["replay", "--devices", "0"])
    assert result.exit_code == 78
    assert "devices: takes 1 to 100,000" in result.stderr
