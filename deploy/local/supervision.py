"""Speaks to a running supervisord: XML-RPC over its unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.errors import NotRunning, SupervisorFailed, UnknownProgram

# The slowest request is to stop a program: it takes up to that program's stop_seconds.
_REQUEST_SECONDS = 120.0
_PING_SECONDS = 5.0

# supervisord's fault codes (supervisor.xmlrpc.Faults).
_SHUTTING_DOWN = 6
_BAD_NAME = 10
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor says about one program. `pid` 0 and `uptime_s` 0.0: it isn't running."""

    # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN, as supervisord calls them.
    state: str
    pid: int
    uptime_s: float


class Supervision:
    """The programs under one supervisord. Every method raises `NotRunning` when it does not answer."""

    def __init__(self, run_dir: Path, socket_path: Path) -> None:
        self._run_dir = run_dir
        self._socket_path = socket_path

    def answers(self) -> bool:
        """Whether supervisord is there, and not about to leave."""
        try:
            self._call("getState", timeout_s=_PING_SECONDS)
        except NotRunning:
            return False
        return True

    def states(self) -> dict[str, ProgramState]:
        """All programs, by name."""
        return {info["name"]: _state(info) for info in self._call("getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Starts a program and returns once it has run for a second; nothing if it runs already."""
        self._call_for(name, "startProcess", name, unless=_ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """SIGTERM, after the program's stop_seconds SIGKILL; returns when it has ended; nothing if it doesn't run."""
        self._call_for(name, "stopProcess", name, unless=_NOT_RUNNING)

    def begin_stop(self, name: str) -> None:
        """As `stop`, without waiting for the end."""
        wait = False
        self._call_for(name, "stopProcess", name, wait, unless=_NOT_RUNNING)

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to a program's process. Raises `SupervisorFailed` when it has none."""
        self._call_for(name, "signalProcess", name, str(number))

    def add(self, name: str) -> None:
        """Takes up a program whose files were just written, and starts it; nothing if it is known already."""
        self._call_for(name, "reloadConfig")
        self._call_for(name, "addProcessGroup", name, unless=_ALREADY_ADDED)

    def _call_for(self, name: str, method: str, *arguments: object, unless: int | None = None) -> None:
        """Calls a method about program `name`; the fault code `unless` is what was wanted, not a failure."""
        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == unless:
                return
            if fault.faultCode == _BAD_NAME:
                raise UnknownProgram(name, self.states()) from fault
            raise SupervisorFailed(f"{name}: supervisord refused {method}: {fault.faultString}") from fault

    def _call(self, method: str, *arguments: object, timeout_s: float = _REQUEST_SECONDS) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=_UnixTransport(self._socket_path, timeout_s))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(self._run_dir) from error
        except xmlrpc.client.ProtocolError as error:
            raise SupervisorFailed(f"supervisord failed at {method}: {error.errcode} {error.errmsg}") from error
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTTING_DOWN:
                raise NotRunning(self._run_dir) from fault
            raise


def _state(info: dict[str, Any]) -> ProgramState:
    pid = int(info["pid"])
    # Both times are supervisord's own clock, so that ours may differ.
    return ProgramState(str(info["statename"]), pid, float(info["now"] - info["start"]) if pid else 0.0)


class _UnixTransport(xmlrpc.client.Transport):
    """The socket is in a file, where the standard library's transport wants a host. supervisor's own has no timeout."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002 (the base class's signature)
        return _UnixConnection(self._path, self._timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
