"""What can go wrong with a local stack. Every message names the cause and what to do about it.

StackError
├── InstallFailed        install.sh did not put the servers in place
├── NotInstalled         a server is missing: install first
├── PortTaken            another process listens on one of the ports
├── UnusablePath         the run folder's path has a character that a server can't take
├── AlreadyRunning       this run folder's stack is up: stop it, or attach to it
├── NotRunning           this run folder has no stack, or its supervisor is down
├── SupervisorFailed     supervisord did not start, or refused a request
├── UnknownProgram       the supervisor has no program of this name
├── ServersNotReady      a server did not answer before the deadline
└── ProcessesLeft        processes survived SIGKILL
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


class StackError(Exception):
    """The local stack can't do what was asked of it."""


class InstallFailed(StackError):
    """install.sh failed, and has printed why. `exit_code` 69: a prerequisite is missing; else a step failed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(
            f"deploy/local/install.sh failed (exit code {exit_code}): do what it names above, then run it again"
        )
        self.exit_code = exit_code


class NotInstalled(StackError):
    """A server's program is not where install.sh puts it."""

    def __init__(self, server: str, where: str) -> None:
        super().__init__(f"{server} is not installed ({where}): run deploy/local/install.sh")
        self.server = server


class PortTaken(StackError):
    """Another process listens on a port that this stack needs."""

    def __init__(self, server: str, port: int, variable: str) -> None:
        super().__init__(
            f"port {port} (127.0.0.1), which {server} needs, is taken by another process: "
            f"stop that process, or choose another port with {variable}=<port>"
        )
        self.server = server
        self.port = port


class UnusablePath(StackError):
    """The run folder's path has a character that some configuration format gives a meaning to."""

    def __init__(self, run_dir: Path, character: str) -> None:
        super().__init__(f"{run_dir} can't be a run folder, for its {character!r}: choose one without")


class AlreadyRunning(StackError):
    """The run folder's stack is up."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(f"the stack in {run_dir} is already running: stop it first with `weir down`")


class NotRunning(StackError):
    """The run folder has no stack, or its supervisor does not answer."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(f"no stack is running in {run_dir}: start it with `weir up`")


class SupervisorFailed(StackError):
    """supervisord ended instead of starting, or refused a request."""


class UnknownProgram(StackError):
    """The supervisor has no program of this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no program is called {name!r}; there are: {', '.join(sorted(known))}")


class ServersNotReady(StackError):
    """Servers that did not answer before the deadline, each with the last reason and its log."""

    def __init__(self, deadline_s: float, reasons: Mapping[str, str], logs: Mapping[str, Path]) -> None:
        lines = [f"  {name}: {reason} (log: {logs[name]})" for name, reason in reasons.items()]
        super().__init__("\n".join([f"not ready after {deadline_s:g} s:", *lines]))
        self.reasons = dict(reasons)


class ProcessesLeft(StackError):
    """Processes of the stack that outlived SIGKILL: stuck in the kernel, most often on a disk."""

    def __init__(self, pids: Iterable[int]) -> None:
        super().__init__(
            f"processes {', '.join(map(str, pids))} outlived SIGKILL (waiting for a disk, most often): "
            "look at them with `ps -o pid,stat,wchan,args -p <pid>`"
        )
