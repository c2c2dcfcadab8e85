"""Weir's services, and the demo's devices, as programs of the local supervisor."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local.ports import is_free
from deploy.local.programs import Program
from services.runtime.errors import ConfigurationError
from services.runtime.settings import ToolSettings

SERVICES: Final = ("bridge", "stream", "sink", "alerts")
DEMO: Final = "demo"

_STOP_SECONDS: Final = {"stream": 30}
"""A stream worker ends with a checkpoint; the others drain in less than 10 s."""
_OTHERS_STOP_SECONDS: Final = 15
_DEMO_DEVICE_TYPES: Final = Path(__file__).parent / "demo_device_types.yaml"
_DEMO_HISTORY: Final = 900
"""Readings that each device uploads first: models are warm within the first minute."""


def service_programs(environment: Mapping[str, str]) -> list[Program]:
    """Bridge, stream, sink and alerts, in this environment."""
    return [
        Program(name, _command(name), environment, stop_seconds=_STOP_SECONDS.get(name, _OTHERS_STOP_SECONDS))
        for name in SERVICES
    ]


def demo_defaults() -> dict[str, str]:
    """Settings of the services that suit the demo's pumps; a person's own settings win."""
    return {"WEIR_STREAM__DEVICE_TYPES_FILE": str(_DEMO_DEVICE_TYPES)}


def demo_program(environment: Mapping[str, str], *, devices: int, labels: Path) -> Program:
    """Devices that replay a real recording, one reading a second each, with a random fault about once a minute."""
    replay = ("replay", "river:WaterFlow", "--devices", str(devices), "--rate", "1", "--history", str(_DEMO_HISTORY))
    return Program(DEMO, (*_command(*replay), "--fault", "random", "--labels", str(labels)), environment)


def http_ports(settings: ToolSettings) -> dict[str, int]:
    """Where each service shows its health."""
    return {
        "bridge": settings.bridge.http_port,
        "stream": settings.stream.http_port,
        "sink": settings.sink.http_port,
        "alerts": settings.alerts.http_port,
    }


def check_http_ports(ports: Mapping[str, int]) -> None:
    """Refuse ports that cannot work.

    Raises:
        ConfigurationError: A port is taken, or 0: then nobody could ask the service how it is.
    """
    for number, (service, port) in enumerate(ports.items()):
        setting = f"WEIR_{service.upper()}__HTTP_PORT"
        if port == 0:
            raise ConfigurationError(f"{setting}=0: `weir up` must know where the service answers; choose a port")
        if port in list(ports.values())[:number]:
            raise ConfigurationError(f"{setting}={port}: another service of Weir has this port; choose another")
        if not is_free(port):
            raise ConfigurationError(
                f"port {port} (127.0.0.1), where {service} shows its health, is taken by another process: "
                f"stop that process, or choose another port with {setting}=<port>"
            )


def _command(*arguments: str) -> tuple[str, ...]:
    # -P: a folder called `services` where the command is typed must not take our place.
    return (sys.executable, "-P", "-m", "services.cli", *arguments)
