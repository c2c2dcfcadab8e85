"""Waits until all of Weir's services are ready, and says which one is not, and why."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from deploy.local.supervision import ProgramState
from services.console.health_probe import Answer
from services.runtime.errors import Unavailable

_POLL_S: Final = 0.5
_LIVES: Final = 3
"""A service on its third process since the start keeps dying."""
TAIL_LINES: Final = 15


class ServiceDies(Unavailable):
    """A service ends again and again; the message holds the end of its log."""


class ServicesNotReady(Unavailable):
    """The deadline came first."""


class Supervisor(Protocol):
    """The part of `Stack` that is needed here."""

    def states(self) -> dict[str, ProgramState]:
        """Each program's state."""

    def log_path(self, name: str) -> Path:
        """Each program's log."""


class Probe(Protocol):
    """The part of `HealthProbe` that is needed here."""

    def ask(self, service: str) -> Answer:
        """What the service says."""


def wait_ready(stack: Supervisor, probe: Probe, services: Iterable[str], deadline_s: float) -> None:
    """Return once each service says that it is ready.

    Raises:
        ServiceDies: Names it, with the tail of its log.
        ServicesNotReady: Names each service that was not ready in `deadline_s` seconds, with what it waits for.
    """
    end = time.monotonic() + deadline_s
    lives: dict[str, set[int]] = defaultdict(set)
    waiting: Mapping[str, Answer] = {}
    while time.monotonic() < end:
        waiting = {name: answer for name in services if not (answer := probe.ask(name)).ok}
        if not waiting:
            return
        states = stack.states()
        for name in waiting:
            lives[name].add(states[name].pid)
            if len(lives[name] - {0}) >= _LIVES:
                log = stack.log_path(name)
                raise ServiceDies(f"{name} ends again and again; the end of its log ({log}):\n{tail_of(log)}")
        time.sleep(_POLL_S)
    reasons = "\n".join(f"  {name}: {it.text()} (log: {stack.log_path(name)})" for name, it in waiting.items())
    raise ServicesNotReady(f"not ready after {deadline_s:g} s:\n{reasons}")


def tail_of(log: Path) -> str:
    """The last lines of a log, indented."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"  ({error.strerror})"
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])
