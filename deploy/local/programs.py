"""What the supervisor keeps running, and the files by which it is told so.

Each program is two files in the run folder: `programs/<name>.sh`, which sets the environment and becomes the program
(one can run it by hand), and `programs/<name>.conf`, which is what supervisord reads. The environment is in the script
because the shell's quoting carries any value, and supervisord's own notation does not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import PROGRAM_VARIABLE

_NAME = re.compile(r"[A-Za-z0-9_.-]+")

# Weir's programs start after the servers and stop before them.
SERVER_PRIORITY = 10
PROGRAM_PRIORITY = 100

_LOG_BYTES = 20_000_000
_LOG_BACKUPS = 3


@dataclass(frozen=True)
class Program:
    """A command that the supervisor keeps running: started again whenever it ends, SIGTERM to stop it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    # From SIGTERM to SIGKILL.
    stop_seconds: int = 10
    # Lower ones start earlier; all of Weir's stop together, before the servers.
    priority: int = PROGRAM_PRIORITY

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a program's name is letters, digits and _.-, not {self.name!r}")
        if not self.command:
            raise ValueError(f"program {self.name} has no command")


def render_launcher(program: Program, environment: Mapping[str, str]) -> str:
    """The shell script that becomes `program`, with `environment` under the program's own."""
    merged = {**environment, **program.environment}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(merged.items())]
    return "\n".join(["#!/bin/sh", *exports, f"exec {shlex.join(program.command)}", ""])


def render_program(program: Program, launcher: Path, log: Path) -> str:
    """The section about `program` in supervisord's configuration.

    A program that ends within a second is tried again after 1, 2, 3... seconds, without an end; one that ran for
    longer, at once.
    """
    return f"""\
[program:{program.name}]
command=/bin/sh {shlex.quote(str(launcher))}
priority={program.priority}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={program.stop_seconds}
killasgroup=true
environment={PROGRAM_VARIABLE}="{program.name}"
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={_LOG_BYTES}
stdout_logfile_backups={_LOG_BACKUPS}
"""


def render_supervisord(run_dir: Path, socket: Path, *, as_root: bool, open_files: int) -> str:
    """Supervisord's own configuration. `as_root`: root must say that it means it; `open_files`: for each program."""
    return f"""\
[supervisord]
nodaemon=true
silent=true
identifier=weir
pidfile={run_dir / "supervisord.pid"}
logfile={run_dir / "logs" / "supervisord.log"}
logfile_maxbytes=5000000
logfile_backups=1
loglevel=info
minfds={open_files}
{"user=root" if as_root else ""}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=programs/*.conf
"""
