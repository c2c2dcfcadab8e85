"""A contender as a process: started with an environment, watched through /proc, ended politely, then not."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
BENCH_PYTHON: Final = Path(os.environ.get("BENCH_VENV", ROOT / ".bench-venv")) / "bin" / "python"
"""Python of the rivals' environment."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class ContenderFailed(Exception):
    """A contender ended, stood still, or put out something else than it should; the text says what."""


def cpu_of(pid: int) -> float:
    """CPU seconds (user and system, all threads) of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb_of(pid: int) -> float:
    """The most memory that a living process has held, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Contender:
    """One process under test. Its output goes to `log`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                env=clean | {"PYTHONPATH": str(ROOT)} | dict(environment),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds so far. Raises `ContenderFailed` where it has ended."""
        self.check()
        return cpu_of(self.pid)

    def check(self) -> None:
        """Raises `ContenderFailed` where it has ended, with the end of what it said."""
        if self._process.returncode is None and self._process.poll() is None:
            return
        raise ContenderFailed(f"ended with {self._process.returncode}: {self.said()}")

    def said(self) -> str:
        """The end of its output."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-1500:]

    def rss_mb(self) -> float:
        """The most memory that it has held, MiB."""
        return rss_mb_of(self.pid)

    def stop(self, patience_s: float = 40.0) -> float:
        """Ask it to leave; after `patience_s` it is killed. Returns all of its CPU seconds."""
        if self._process.returncode is not None:
            return 0.0
        self._process.send_signal(signal.SIGTERM)
        until = time.monotonic() + patience_s
        while True:
            ended, _, usage = os.wait4(self.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > until:
                self._process.kill()
                _, _, usage = os.wait4(self.pid, 0)
                break
            time.sleep(0.02)
        self._process.returncode = 0
        return usage.ru_utime + usage.ru_stime
