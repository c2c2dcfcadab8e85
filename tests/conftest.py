"""The real servers, one stack for the whole test session: free ports, data in pytest's folder.

A server that can't be installed or started fails the tests; nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from deploy.local.ports import Ports
from deploy.local.servers import InfluxVersion, chosen_influx_version, install
from deploy.local.stack import Stack
from services.runtime import core

# The same examples at every run; `pytest --hypothesis-profile default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

pytest_plugins = ("integration.alert_processes",)

START_SECONDS = 180.0
SERVERS = {"stack", "kafka", "mosquitto", "influxdb", "influx_version"}
SLOW_FOLDERS = {"integration", "faults", "e2e"}


def pytest_configure() -> None:
    """Refuse to test what nobody wrote: a compiled core that is older than its sources."""
    try:
        core.require_current()
    except core.StaleCore as stale:
        raise pytest.UsageError(str(stale)) from None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` what starts servers, or stands in a folder of long tests; `make test-unit` leaves these out.

    `make test-servers` deals files out to two processes, as these tests mostly wait; each starts servers of its own.
    """
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())) or SLOW_FOLDERS & set(item.path.parts):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def influx_version() -> InfluxVersion:
    """Which InfluxDB the tests run against (LOCAL_INFLUX); all servers are installed."""
    version = chosen_influx_version()
    install(version)
    return version


@pytest.fixture(scope="session")
def stack(influx_version: InfluxVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Mosquitto and InfluxDB, up and answering. Shared by all tests: use names of your own, kill nothing."""
    running = Stack(tmp_path_factory.mktemp("stack"), Ports.free(), influx_version=influx_version)
    # Tied, so that a killed test run leaves no broker behind.
    running.start(tied_to_caller=True)
    try:
        running.wait_servers_ready(START_SECONDS)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> str:
    """Kafka's bootstrap address."""
    return stack.kafka_bootstrap


@pytest.fixture(scope="session")
def mosquitto(stack: Stack) -> tuple[str, int]:
    """Mosquitto's host and port."""
    return stack.mqtt_address


@pytest.fixture(scope="session")
def influxdb(stack: Stack) -> str:
    """InfluxDB's address; the databases `telemetry` and `telemetry_long` are there."""
    return stack.influx_url
