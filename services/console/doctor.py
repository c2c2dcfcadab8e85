"""`weir doctor`: checks everything that Weir needs, in the order in which things need each other."""

import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import urllib3
from rich.console import Console

from deploy.local.stack import Stack
from schemas import influx as layout
from services.alerts import rules
from services.console import checks, ending, local_stack, programs
from services.console.checks import Check, failed, is_loopback, ok, skipped, warning
from services.console.health_probe import HealthProbe
from services.console.influx import Influx, shown_url
from services.console.kafka_checks import check_kafka
from services.console.mqtt_checks import check_mqtt
from services.console.mqtt_queue import check_queue
from services.runtime import core, settings
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable
from services.runtime.routes import load_routes
from services.runtime.settings import InfluxSettings, ToolSettings
from services.stream.device_types import load_device_types

_OLDEST_PYTHON: Final = (3, 11)
_SETTINGS: Final = "settings"
_ALL_SETTINGS: Final = "`weir config show` and docs/settings.md list what there is"
_ENOUGH_GIB: Final = 10.0
_LEAST_GIB: Final = 2.0


def run() -> int:
    """Print one line for each check; 0 where nothing failed."""
    return _print(_checks())


def run_configuration() -> int:
    """As `run`, of settings and the files that they name; asks no server."""
    return _print(_check_configuration())


def _print(found: Iterable[Check]) -> int:
    console = Console(highlight=False, soft_wrap=True)
    done = []
    for check in found:
        console.print(checks.line_of(check))
        done.append(check)
    return ExitCode.OK if checks.all_well(done) else ending.PROBLEM


def _check_configuration() -> Iterator[Check]:
    try:
        told = settings.load(ToolSettings)
    except ConfigurationError as error:
        yield failed(_SETTINGS, str(error), _ALL_SETTINGS)
        return
    yield ok(_SETTINGS, "known and valid")
    yield from _files(told)


def _checks() -> Iterator[Check]:
    yield check_python(sys.version_info[:2])
    yield check_core(core.kind())
    stack = local_stack.adopt()
    yield _stack(stack)
    try:
        told = settings.load(ToolSettings)
    except ConfigurationError as error:
        yield failed(_SETTINGS, str(error), _ALL_SETTINGS)
        yield skipped("everything else", "as settings are refused")
        return
    yield ok(_SETTINGS, "known and valid")
    yield from _files(told)
    yield from check_kafka(told.kafka)
    yield from check_mqtt(told.mqtt)
    yield from check_queue(told.mqtt)
    yield from check_influx(told.influx)
    yield from _services(told, stack)
    yield check_disk(stack.run_dir if stack else Path.cwd())


def check_python(version: tuple[int, int]) -> Check:
    """Old Pythons lack what Weir is written in."""
    found = ".".join(map(str, version))
    if version < _OLDEST_PYTHON:
        return failed("Python", found, "install 3.11 or newer, and make the environment anew: `make setup`")
    return ok("Python", platform.python_version())


def check_core(kind: str) -> Check:
    """The same results either way, for twice the CPU time."""
    if kind == "compiled":
        return ok("core", kind)
    return warning("core", kind, "the stream takes about twice the CPU time: install gcc, then `make setup` again")


def check_influx(told: InfluxSettings) -> Iterator[Check]:
    """It answers; both buckets are there and may be written. Nothing is written."""
    client = Influx(told)
    try:
        yield ok("InfluxDB", f"{client.version()} at {shown_url(told.url)}")
    except Unavailable as error:
        yield failed(
            "InfluxDB",
            f"no answer at {shown_url(told.url)}",
            str(error).partition(": ")[2] or "correct WEIR_INFLUX__URL",
        )
        yield skipped("InfluxDB buckets", "as InfluxDB is away")
        return
    yield from check_influx_transport(told)
    for bucket, keeps in ((told.bucket, "30d"), (told.bucket_long, "730d")):
        name = f"InfluxDB bucket {bucket}"
        refused = client.write_refusal(bucket)
        if refused is None:
            yield ok(name, "there, and may be written")
        elif refused.startswith("404"):
            fix = f'CREATE DATABASE "{bucket}" WITH DURATION {keeps} (1.8), or create the bucket (2.x)'
            yield failed(name, refused, f"{fix}; `weir up` does so on this machine")
        else:
            yield failed(name, refused, "give WEIR_INFLUX__TOKEN a token that may write to it")


def check_influx_transport(told: InfluxSettings) -> Iterator[Check]:
    """Warns where others could read along, or write."""
    address = urllib3.util.parse_url(told.url)
    if is_loopback(address.host or ""):
        return
    if address.scheme == "http":
        yield warning(
            "InfluxDB transport",
            f"token and data cross the network to {address.host} in clear text",
            "give InfluxDB a certificate, and WEIR_INFLUX__URL an https:// address; docs/security.md",
        )
    if told.token is None:
        yield warning(
            "InfluxDB access",
            "it takes us without a token, so it takes anyone",
            "switch its authentication on, and set WEIR_INFLUX__TOKEN; docs/security.md",
        )


def check_disk(where: Path) -> Check:
    """Kafka and InfluxDB stop taking data on a full disk."""
    free_gib = shutil.disk_usage(where).free / 1024**3
    found = f"{free_gib:.0f} GiB free at {where}"
    if free_gib < _LEAST_GIB:
        return failed("disk", found, "make room: Kafka and InfluxDB stop when it is full")
    if free_gib < _ENOUGH_GIB:
        return warning("disk", found, "make room, or lower the topics' retention")
    return ok("disk", found)


def _stack(stack: Stack | None) -> Check:
    if stack is None:
        return ok("local stack", "none runs (`weir up` starts one); asking what the settings name")
    down = [name for name, state in stack.states().items() if state.state != "RUNNING"]
    if down:
        logs = ", ".join(str(stack.log_path(name)) for name in down)
        return failed("local stack", f"not running: {', '.join(sorted(down))}", f"see {logs}")
    return ok("local stack", f"all programs run, in {stack.run_dir}")


def _files(told: ToolSettings) -> Iterator[Check]:
    for name, what, load, path in (
        ("routes (bridge)", "read", load_routes, told.bridge.routes_file),
        ("routes (stream)", "read", load_routes, told.stream.routes_file),
        ("device types", "read", load_device_types, told.stream.device_types_file),
    ):
        try:
            load(path)
        except ConfigurationError as error:
            yield failed(name, str(error), f"correct {path}")
        else:
            if path is not None:
                yield ok(name, f"{what} from {path}")
    try:
        known = rules.load(told.alerts.rules_dir)
    except ConfigurationError as error:
        yield failed("alert rules", str(error), "correct the rule, or WEIR_ALERTS__RULES_DIR")
    else:
        yield ok("alert rules", f"{len(known.by_name)} in {told.alerts.rules_dir}")
    if told.bridge.routes_file != told.stream.routes_file:
        yield warning(
            "routes",
            "bridge and stream read different ones, so payloads may meet the wrong decoder",
            "set WEIR_BRIDGE__ROUTES_FILE and WEIR_STREAM__ROUTES_FILE to the same file",
        )
    if (told.influx.bucket, told.influx.bucket_long) != (layout.BUCKET, layout.BUCKET_LONG):
        yield ok("InfluxDB layout", "buckets renamed; dashboards must name them too")


def _services(told: ToolSettings, stack: Stack | None) -> Iterator[Check]:
    probe = HealthProbe(programs.http_ports(told))
    for service in programs.SERVICES:
        answer = probe.ask(service, "/healthz")
        name = f"weir {service}"
        if answer.ok:
            yield ok(name, f"healthy at {probe.url(service, '')}")
        elif answer.reached:
            yield failed(name, answer.text(), "it restarts itself when it stands for long; its log says more")
        else:
            log = f"see {stack.log_path(service)}" if stack else f"start it with `weir up` or `weir {service}`"
            yield failed(name, answer.text(), f"{log}, or correct WEIR_{service.upper()}__HTTP_PORT")
