"""`Stack`: the Kafka, Mosquitto, InfluxDB and programs of one run folder, as one thing to start and stop.

The run folder holds all of it: `stack.json` (what another process needs to attach), `data/`, `logs/`, `programs/`, and
one folder of configuration for each server. Nothing is kept in memory that `attach` could not read from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import resource
import signal as signals
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from deploy.local import processes
from deploy.local.databases import INFLUX_ORG, INFLUX_TOKEN, influx_probe
from deploy.local.errors import (
    AlreadyRunning,
    NotRunning,
    ProcessesLeft,
    ServersNotReady,
    StackError,
    SupervisorFailed,
    UnknownProgram,
    UnusablePath,
)
from deploy.local.ports import LOOPBACK, Ports
from deploy.local.programs import Program, render_launcher, render_program, render_supervisord
from deploy.local.readiness import kafka_probe, mqtt_probe, wait_ready
from deploy.local.servers import (
    SERVERS,
    InfluxVersion,
    Installation,
    KafkaListener,
    data_folders,
    format_kafka,
    render_configuration,
    server_programs,
)
from deploy.local.supervision import ProgramState, Supervision

# A unix socket's path is at most 107 bytes; supervisord binds a longer name (with its pid) first.
_SOCKET_PATH_BYTES = 95

_SUPERVISOR_START_SECONDS = 30.0
# supervisord gives each its stop_seconds, and then kills it: this is only for a supervisord that can't.
_SUPERVISOR_STOP_SECONDS = 180.0
_ORPHANS_STOP_SECONDS = 20.0
_KILL_SECONDS = 10.0

_OPEN_FILES = 65_536

# In supervisord's configuration % expands and ; and # begin comments; a comma separates Kafka's data folders.
_UNUSABLE = re.compile(r"[%;#,\n]")


class Stack:
    """The three servers and the given programs under one supervisord, in one run folder."""

    def __init__(
        self,
        run_dir: Path,
        ports: Ports,
        programs: Sequence[Program] = (),
        influx_version: InfluxVersion = 1,
        kafka_listeners: Sequence[KafkaListener] = (),
    ) -> None:
        """Nothing happens before `start`. Each `influx_version` has data of its own in the run folder."""
        self.run_dir = run_dir.resolve()
        self.ports = ports
        self.influx_version = influx_version
        self._programs = tuple(programs)
        self._kafka_listeners = tuple(kafka_listeners)
        self._socket = socket_path(self.run_dir)
        self._supervision = Supervision(self.run_dir, self._socket)
        self._supervisord: subprocess.Popen[bytes] | None = None

    @classmethod
    def attach(cls, run_dir: Path) -> Stack:
        """The stack that some process has started in `run_dir`, running or not. Raises `NotRunning`: never started."""
        try:
            written = json.loads(_stack_file(run_dir.resolve()).read_text())
        except FileNotFoundError as error:
            raise NotRunning(run_dir) from error
        listeners = [KafkaListener(**listener) for listener in written.get("kafka_listeners", ())]
        return cls(
            run_dir,
            Ports(**written["ports"]),
            influx_version=written["influx_version"],
            kafka_listeners=listeners,
        )

    def start(self, *, tied_to_caller: bool = False) -> None:
        """Starts supervisord, which starts servers, then programs; returns when it answers, not when they do.

        supervisord is in a session of its own: a terminal's Ctrl-C does not reach it. `tied_to_caller`: it stops,
        with everything, when the thread that calls this ends, however it ends (for tests: start from the main thread).
        What a killed supervisor has left behind is stopped first.

        Raises `AlreadyRunning`, `PortTaken`, `NotInstalled`, `UnusablePath`, `SupervisorFailed`.
        """
        if found := _UNUSABLE.search(str(self.run_dir)):
            raise UnusablePath(self.run_dir, found.group())
        installation = Installation.find(self.influx_version)
        with _locked(self.run_dir):
            if self.is_running():
                raise AlreadyRunning(self.run_dir)
            self._stop_processes()
            self.ports.check_free()
            self._write(installation)
            format_kafka(installation, self.run_dir)
            self._launch(tied_to_caller=tied_to_caller)

    def wait_servers_ready(self, deadline_s: float = 60.0) -> None:
        """Waits until all three servers do their work, and creates InfluxDB's databases where they are missing.

        Raises `ServersNotReady`, naming each server that doesn't answer, its last reason and its log.
        """
        probes = {
            "kafka": kafka_probe(self.kafka_bootstrap),
            "mosquitto": mqtt_probe(self.ports.mqtt),
            "influxdb": influx_probe(self.influx_url, self.influx_version),
        }
        reasons = wait_ready(probes, deadline_s)
        if reasons:
            raise ServersNotReady(deadline_s, reasons, {name: self.log_path(name) for name in reasons})

    def stop(self) -> None:
        """Stops all programs at once, then the servers; returns when no process is left; fine when nothing runs.

        Works on whatever is there: also on a stack of another process, or one whose supervisor was killed.
        Raises `ProcessesLeft`.
        """
        try:
            for name in self.states().keys() - SERVERS:
                # supervisord alone would stop one after the other.
                self._supervision.begin_stop(name)
        except NotRunning:
            pass
        self._stop_processes()
        self._socket.unlink(missing_ok=True)

    def is_running(self) -> bool:
        """Whether the supervisor is up; the servers may still be starting."""
        return self._supervision.answers()

    def states(self) -> dict[str, ProgramState]:
        """Servers and programs by name. Raises `NotRunning`."""
        return self._supervision.states()

    def pid(self, name: str) -> int:
        """The process id of a server or program, 0 when it has none. Raises `UnknownProgram`, `NotRunning`."""
        states = self.states()
        if name not in states:
            raise UnknownProgram(name, states)
        return states[name].pid

    def signal(self, name: str, signal: signals.Signals) -> None:
        """Signals a server or program; what dies of it is started again. Raises `SupervisorFailed`: not running."""
        self._supervision.signal(name, signal)

    def start_program(self, name: str) -> None:
        """Starts a server or program that was stopped; returns once it has run for a second."""
        self._supervision.start(name)

    def stop_program(self, name: str) -> None:
        """Stops a server or program, which then stays down; returns when it has ended."""
        self._supervision.stop(name)

    def restart(self, name: str) -> None:
        """Stops, then starts a server or program."""
        self._supervision.stop(name)
        self._supervision.start(name)

    def add_programs(self, programs: Sequence[Program]) -> None:
        """Starts more programs in a running stack. Raises `NotRunning`."""
        for program in programs:
            self._write_program(program, self.environment())
        for program in programs:
            self._supervision.add(program.name)

    def log_path(self, name: str) -> Path:
        """Where a server's or program's output goes (rotated: older parts end in .1, .2...)."""
        return self.run_dir / "logs" / f"{name}.log"

    @property
    def kafka_bootstrap(self) -> str:
        """Kafka's address, host:port."""
        return f"{LOOPBACK}:{self.ports.kafka}"

    @property
    def mqtt_address(self) -> tuple[str, int]:
        """Mosquitto's host and port."""
        return LOOPBACK, self.ports.mqtt

    @property
    def influx_url(self) -> str:
        """InfluxDB's address, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.ports.influx}"

    def environment(self) -> dict[str, str]:
        """The settings by which Weir's services find this stack. Programs of the stack get them without asking."""
        environment = {
            "WEIR_MQTT__HOST": LOOPBACK,
            "WEIR_MQTT__PORT": str(self.ports.mqtt),
            "WEIR_KAFKA__BOOTSTRAP": self.kafka_bootstrap,
            "WEIR_INFLUX__URL": self.influx_url,
        }
        if self.influx_version == 2:
            environment |= {"WEIR_INFLUX__TOKEN": INFLUX_TOKEN, "WEIR_INFLUX__ORG": INFLUX_ORG}
        return environment

    def _write(self, installation: Installation) -> None:
        """Writes every file of the run folder anew, but for the data."""
        data = data_folders(self.run_dir, self.influx_version).values()
        for folder in (self.run_dir / "logs", self.run_dir / "programs", *data):
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in render_configuration(self.run_dir, self.ports, self._kafka_listeners).items():
            _write_private(path, content)
        for stale in (self.run_dir / "programs").iterdir():
            stale.unlink()
        for server in server_programs(installation, self.run_dir, self.ports, self.influx_version):
            self._write_program(server, {})
        for program in self._programs:
            self._write_program(program, self.environment())
        _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        supervisord = render_supervisord(
            self.run_dir,
            self._socket,
            as_root=os.geteuid() == 0,
            open_files=_OPEN_FILES if most_files == resource.RLIM_INFINITY else min(_OPEN_FILES, most_files),
        )
        _write_private(self.run_dir / "supervisord.conf", supervisord)
        attachable = {
            "ports": asdict(self.ports),
            "influx_version": self.influx_version,
            "kafka_listeners": [asdict(listener) for listener in self._kafka_listeners],
        }
        _write_private(_stack_file(self.run_dir), json.dumps(attachable, indent=2))

    def _write_program(self, program: Program, environment: Mapping[str, str]) -> None:
        launcher = self.run_dir / "programs" / f"{program.name}.sh"
        _write_private(launcher, render_launcher(program, environment))
        section = render_program(program, launcher, self.log_path(program.name))
        _write_private(launcher.with_suffix(".conf"), section)

    def _launch(self, *, tied_to_caller: bool) -> None:
        if self._socket.parent != self.run_dir:
            _own_folder(self._socket.parent)
        tie = ("setpriv", "--pdeathsig", "TERM") if tied_to_caller else ()
        configuration = str(self.run_dir / "supervisord.conf")
        output = self.run_dir / "logs" / "supervisord.out"
        with output.open("wb") as log:
            self._supervisord = subprocess.Popen(
                [*tie, sys.executable, "-m", "supervisor.supervisord", "-c", configuration],
                env={**os.environ, processes.RUN_VARIABLE: str(self.run_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + _SUPERVISOR_START_SECONDS
        while not self.is_running():
            if self._supervisord.poll() is not None or time.monotonic() > end:
                self._stop_processes()
                raise SupervisorFailed(f"supervisord did not start: {output.read_text().strip()}")
            time.sleep(0.05)

    def _stop_processes(self) -> None:
        """Ends supervisord first, which stops its programs in their order; then what has no supervisor any more."""
        self._end(processes.supervisors_of, signals.SIGTERM, _SUPERVISOR_STOP_SECONDS)
        self._end(processes.processes_of, signals.SIGTERM, _ORPHANS_STOP_SECONDS)
        left = self._end(processes.processes_of, signals.SIGKILL, _KILL_SECONDS)
        if left:
            raise ProcessesLeft(left)
        if self._supervisord is not None:
            # Our own child: without this it stays in the process table for as long as we live.
            self._supervisord.wait()

    def _end(self, find: Callable[[Path], list[int]], signal: signals.Signals, deadline_s: float) -> list[int]:
        for pid in find(self.run_dir):
            processes.send(self.run_dir, pid, signal)
        return processes.wait_gone(lambda: find(self.run_dir), deadline_s)


def socket_path(run_dir: Path) -> Path:
    """Where the supervisor of `run_dir` listens: there, or in /tmp when that path is too long for a unix socket."""
    path = run_dir / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:16]
    # Not $TMPDIR: the process that attaches later may have another one.
    return Path("/tmp") / f"weir-{os.geteuid()}" / f"{digest}.sock"  # noqa: S108 (_own_folder checks whose it is)


def _own_folder(folder: Path) -> None:
    """Makes `folder`, for this user only. Raises `StackError` when somebody else was there first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise StackError(f"{folder} is not this user's alone: remove it, or use a run folder with a shorter path")


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """One start at a time in a run folder; a second one waits."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stack_file(run_dir: Path) -> Path:
    return run_dir / "stack.json"


def _write_private(path: Path, content: str) -> None:
    """Readable by this user only: a program's environment may hold secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
