"""MQTT topics. Devices publish under `weir/v1/`; Weir publishes under `weir-out/v1/` only, so nothing loops."""

import re
from typing import Final

IN_FILTER: Final = "weir/v1/#"
TELEMETRY_ROUTE: Final = "weir/v1/{tenant}/{site}/{device}/telemetry"
STATUS_ROUTE: Final = "weir/v1/{tenant}/{site}/{device}/status"

ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
"""A tenant, site or device id (use `fullmatch`)."""
SENSOR: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}", re.ASCII)
"""A sensor's name (use `fullmatch`)."""


def telemetry_topic(tenant: str, site: str, device: str) -> str:
    """Where a device publishes its messages, QoS 1."""
    return f"weir/v1/{tenant}/{site}/{device}/telemetry"


def status_topic(tenant: str, site: str, device: str) -> str:
    """Where a device's status stands, retained; also its last will."""
    return f"weir/v1/{tenant}/{site}/{device}/status"


def alarms_topic(tenant: str, site: str, device: str) -> str:
    """Where Weir publishes a device's alarms."""
    return f"weir-out/v1/{tenant}/{site}/{device}/alarms"
