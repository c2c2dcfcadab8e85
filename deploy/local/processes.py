"""Finds and signals the processes of one stack, also when nobody supervises them any more.

Every process of a stack carries its run folder in its environment, so that it is recognised by what it is and not by
a number in a file: a pid that was given to another program since can't be hit. Linux only: /proc and pidfd.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

# In the environment of supervisord, and so of all that it starts.
RUN_VARIABLE = "LOCAL_STACK_RUN"
# In the environment of the programs, not of supervisord itself.
PROGRAM_VARIABLE = "LOCAL_STACK_PROGRAM"

_POLL_SECONDS = 0.05


def supervisors_of(run_dir: Path) -> list[int]:
    """The pids of this run folder's supervisord: one, or none."""
    return [pid for pid in processes_of(run_dir) if _leads_session(pid) and not _is_program(_environment(pid))]


def processes_of(run_dir: Path) -> list[int]:
    """The pids of all living processes of this run folder's stack."""
    numbers = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in numbers if _is_of(run_dir, _environment(pid))]


def send(run_dir: Path, pid: int, number: signal.Signals) -> None:
    """Signals `pid` if it is, now, a process of this run folder's stack; else does nothing."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Read after the handle was taken: the handle stays with its process, whoever gets the number next.
        if _is_of(run_dir, _environment(pid)):
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def wait_gone(pids: Callable[[], list[int]], deadline_s: float) -> list[int]:
    """Waits until `pids()` is empty, at most `deadline_s` seconds. Returns those that are left."""
    end = time.monotonic() + deadline_s
    while (left := pids()) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return left


def _environment(pid: int) -> frozenset[bytes]:
    """NAME=value of a process; nothing of another user's, or of one that has ended (also when not yet reaped)."""
    try:
        return frozenset(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return frozenset()


def _is_of(run_dir: Path, environment: frozenset[bytes]) -> bool:
    return os.fsencode(f"{RUN_VARIABLE}={run_dir}") in environment


def _leads_session(pid: int) -> bool:
    """As supervisord does; a child that it has forked and that has yet to become a program does not."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _is_program(environment: frozenset[bytes]) -> bool:
    return any(entry.startswith(os.fsencode(f"{PROGRAM_VARIABLE}=")) for entry in environment)
