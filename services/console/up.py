"""`weir up` and `weir down`: real servers, Weir's services and, for trying, a demo's devices on this machine."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import msgspec

from deploy.local.errors import AlreadyRunning, NotRunning
from deploy.local.ports import Ports
from deploy.local.servers import chosen_influx_version
from deploy.local.stack import Stack
from services.console import local_stack, programs, readiness
from services.console.health_probe import HealthProbe
from services.console.live import View
from services.runtime import settings
from services.runtime.errors import ExitCode
from services.runtime.settings import ToolSettings

_LABELS: Final = "demo-labels.jsonl"


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `weir up` is told."""

    detach: bool
    demo: bool
    devices: int
    deadline_s: float


class _Asked(BaseException):
    """SIGINT or SIGTERM came: leave, from wherever we are."""


def up(options: UpOptions) -> int:
    """Start everything, and either return once it is ready or show it until a signal comes. Leaves all or nothing."""
    stack = Stack(local_stack.run_dir(), Ports.from_environment(), influx_version=chosen_influx_version())
    preset = programs.demo_defaults() if options.demo else {}
    services = local_stack.service_environment(stack, os.environ, preset)
    os.environ.update(services)
    told = settings.load(ToolSettings)
    ports = programs.http_ports(told)
    try:
        with _signals_as_exceptions():
            _start(stack, services, ports, options)
            labels = stack.run_dir / _LABELS
            labels.unlink(missing_ok=True)
            # The view looks before the demo speaks, and so misses nothing of it.
            view = None if options.detach else View(stack, told.kafka, _note(options), labels, options.deadline_s)
            if options.demo:
                stack.add_programs([programs.demo_program(services, devices=options.devices, labels=labels)])
            if view is None:
                _say_ready(stack, options)
                return ExitCode.OK
            view.show()
    except _Asked:
        pass
    except AlreadyRunning:
        # Not ours to stop.
        raise
    except BaseException:
        _stop(stack)
        raise
    _stop(stack)
    return ExitCode.OK


def down() -> int:
    """Stop what runs in the run folder; fine when nothing does."""
    try:
        stack = Stack.attach(local_stack.run_dir())
    except NotRunning:
        _say("nothing runs here")
        return ExitCode.OK
    was_running = stack.is_running()
    stack.stop()
    _say("stopped" if was_running else "nothing runs here")
    return ExitCode.OK


def _start(stack: Stack, services: dict[str, str], ports: dict[str, int], options: UpOptions) -> None:
    begun = time.monotonic()
    if stack.is_running():
        raise AlreadyRunning(stack.run_dir)
    programs.check_http_ports(ports)
    _say("starting Kafka, Mosquitto and InfluxDB")
    stack.start(tied_to_caller=not options.detach)
    stack.wait_servers_ready(options.deadline_s)
    local_stack.remember(stack, services)
    _say(f"starting bridge, stream, sink and alerts ({time.monotonic() - begun:.0f} s)")
    stack.add_programs(programs.service_programs(services))
    readiness.wait_ready(stack, HealthProbe(ports), programs.SERVICES, options.deadline_s)
    _say(f"ready ({time.monotonic() - begun:.0f} s)")


def _stop(stack: Stack) -> None:
    was_running = stack.is_running()
    if was_running:
        _say("stopping")
    # A second Ctrl-C must not leave half of it behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    stack.stop()
    if was_running:
        _say(f"stopped; data and logs stay in {stack.run_dir}")


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    def leave(_number: int, _frame: FrameType | None) -> None:
        raise _Asked

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(options: UpOptions) -> str:
    if not options.demo:
        return "no demo: publish to weir/v1/<tenant>/<site>/<device>/telemetry"
    return f"demo: {options.devices} pumps replay real water flow at 1 Hz, with random faults"


def _say_ready(stack: Stack, options: UpOptions) -> None:
    host, port = stack.mqtt_address
    _say(f"MQTT {host}:{port}   Kafka {stack.kafka_bootstrap}   InfluxDB {stack.influx_url}")
    _say(f"logs in {stack.run_dir / 'logs'}; `weir status` shows how it goes, `weir down` stops it")
    if not options.demo:
        _say('publish {"values": {"temperature": 21.5}} to weir/v1/demo/site-1/device-1/telemetry')


def _say(text: str) -> None:
    sys.stdout.write(f"weir: {text}\n")
    sys.stdout.flush()
