"""Where the local stack lies, with which settings its services run, and how another command finds it again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local.errors import NotRunning
from deploy.local.stack import Stack
from services.runtime.settings import PREFIX

CHECKOUT: Final = Path(__file__).resolve().parents[2]
_ENVIRONMENT_FILE: Final = "weir-environment.json"


def run_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Where data, logs and the supervisor's socket lie: LOCAL_RUN_DIR, or `.run` in the checkout."""
    return Path(environment.get("LOCAL_RUN_DIR") or CHECKOUT / ".run").resolve()


def service_environment(stack: Stack, environment: Mapping[str, str], preset: Mapping[str, str]) -> dict[str, str]:
    """The settings of the stack's services: `preset`, the user's own over it, and this stack's addresses over both.

    The addresses win, so that a WEIR_KAFKA__BOOTSTRAP that stands in the shell for another purpose can never let the
    demo write there. Paths are made absolute: services must not depend on where `weir up` was typed.
    """
    told = {name: value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    defaults = {
        "WEIR_ALERTS__RULES_DIR": str(CHECKOUT / "deploy" / "alerts"),
        "WEIR_STREAM__DATA_DIR": str(stack.run_dir / "faust"),
    }
    return defaults | dict(preset) | told | stack.environment()


def remember(stack: Stack, services: Mapping[str, str]) -> None:
    """Leave the services' settings in the run folder for other commands; this user only may read them."""
    path = stack.run_dir / _ENVIRONMENT_FILE
    path.touch(mode=0o600)
    path.write_text(json.dumps(dict(services), indent=2), encoding="utf-8")


def adopt() -> Stack | None:
    """The local stack, where one is running; its services' settings then hold here too, under the user's own."""
    stack = running()
    if stack is None:
        return None
    path = stack.run_dir / _ENVIRONMENT_FILE
    remembered: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else stack.environment()
    for name, value in remembered.items():
        os.environ.setdefault(name, value)
    return stack


def running() -> Stack | None:
    """The local stack, where one is running."""
    try:
        stack = Stack.attach(run_dir())
    except NotRunning:
        return None
    return stack if stack.is_running() else None
