"""What a check found, and how it is said."""

import ipaddress
from collections.abc import Iterable
from enum import StrEnum

import msgspec
from rich.text import Text


class Verdict(StrEnum):
    """`warning`: works, but not as it should in production. `skipped`: what it needs has failed before it."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True):
    """One line of `weir doctor`. `fix` says what to do, where anything is to be done."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


_SIGNS = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILED: ("✗", "bold red"),
    Verdict.SKIPPED: ("-", "dim"),
}


def line_of(check: Check) -> Text:
    """`✗ Kafka: nothing answers at 127.0.0.1:9092 -> start it with weir up`."""
    sign, style = _SIGNS[check.verdict]
    line = Text.assemble((f"{sign} ", style), (check.name, "bold"), f": {check.found}")
    if check.fix:
        line.append(f" → {check.fix}")
    return line


def is_loopback(host: str) -> bool:
    """Whether what goes to `host` stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def all_well(checks: Iterable[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.verdict is not Verdict.FAILED for check in checks)


def ok(name: str, found: str) -> Check:
    """It is as it should be."""
    return Check(name, Verdict.OK, found)


def warning(name: str, found: str, fix: str) -> Check:
    """It works, and should be mended."""
    return Check(name, Verdict.WARNING, found, fix)


def failed(name: str, found: str, fix: str) -> Check:
    """It does not work."""
    return Check(name, Verdict.FAILED, found, fix)


def skipped(name: str, why: str) -> Check:
    """It could not be looked at."""
    return Check(name, Verdict.SKIPPED, f"not checked, {why}")
