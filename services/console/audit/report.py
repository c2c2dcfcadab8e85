"""An audit's result, for a person and for programs. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.console.audit.account import Account, Finding, Missing
from services.console.audit.compare import Difference
from services.console.audit.gaps import Gaps
from services.console.times import iso
from services.console.wording import printable
from services.stream.ledger import Ledger

SHOWN: Final = 50
"""Findings, and devices whose ledgers differ, that a person is shown; --json has all that were kept."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    `removed`: partition of telemetry.raw -> the first offset of which retention has left the message, and what came of
    it. Empty where retention has removed nothing of the range.
    """

    ok: bool
    since_us: int | None
    until_us: int | None
    device: str | None
    account: Account
    gaps: Gaps
    removed: dict[int, int]
    compared: int
    """Ledgers of the state that were compared, their devices' whole life being in the range."""
    differences: list[Difference]
    seconds: float


def to_json(found: Report) -> str:
    """For programs: named fields throughout."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    account = found.account
    plain["account"]["ledger"] = _named(account.ledger)
    for told, finding in zip(plain["account"]["findings"], account.findings, strict=True):
        told["missing"] = finding.missing.name.lower()
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def tell(found: Report) -> str:
    """For a person."""
    return "\n".join(printable(line) for line in _tell(found))


def _tell(found: Report) -> Iterator[str]:
    account, ledger, points = found.account, found.account.ledger, found.account.points
    since = "the beginning of the log" if found.since_us is None else iso(found.since_us)
    until = "now" if found.until_us is None else iso(found.until_us)
    whose = f"{account.devices:,} devices" if found.device is None else found.device
    yield f"audit of {whose}, messages from {since} to {until}, in {found.seconds:.1f} s"
    if found.removed:
        where = ", ".join(f"partition {p} begins at offset {first:,}" for p, first in found.removed.items())
        yield f"retention   has removed the oldest messages, or what came of them: {where}"
    yield (
        f"messages    received {ledger.received:,} = decoded {ledger.decoded:,} + dead-lettered"
        f" {_by_reason(ledger.dead_messages)} + redelivered {ledger.redelivered:,}{_lacking(ledger.missing_messages)}"
    )
    yield (
        f"readings    decoded {ledger.readings_decoded:,} = stored {ledger.readings_stored:,} + dead-lettered"
        f" {_by_reason(ledger.dead_readings)} + duplicates {ledger.readings_duplicates:,}"
        f"{_lacking(ledger.missing_readings)}"
    )
    lost = points.written - points.stored - points.refused - points.in_flight
    yield (
        f"InfluxDB    on telemetry.clean {points.written:,} = stored {points.stored:,} + refused {points.refused:,}"
        f" + in flight {points.in_flight:,}{_lacking(lost)}"
    )
    if account.messages_in_flight:
        yield f"in flight   {account.messages_in_flight:,} messages that the stream had not committed: not judged"
    if points.repeats:
        yield f"repeats     {points.repeats:,} records of telemetry.clean came twice with the same id: dropped"
    if account.replayed:
        yield f"replayed    {account.replayed:,} of the messages were sent again from the dead letter"
    if found.gaps.messages:
        yield (
            f"gaps        {found.gaps.messages:,} messages of {found.gaps.devices:,} devices never reached Weir, by"
            " their seq (see them: weir tail gaps)"
        )
    yield from _compared(found)
    yield from _findings(account)
    if found.ok:
        yield "✓ everything is accounted for"


def _compared(found: Report) -> Iterator[str]:
    if not found.compared:
        yield "state       not compared: the range is no device's whole life"
        return
    if not found.differences:
        yield f"state       the ledgers of {found.compared:,} devices in the checkpoints are the same"
    for difference in found.differences[:SHOWN]:
        counts = ", ".join(f"{name} {mine:,}, state {its:,}" for name, (mine, its) in difference.counts.items())
        yield f"✗ state     {difference.device} (partition {difference.partition}): {counts}"
    if len(found.differences) > SHOWN:
        yield f"            and {len(found.differences) - SHOWN:,} more (--json)"


def _findings(account: Account) -> Iterator[str]:
    total = len(account.findings) + account.not_kept
    if not total:
        return
    yield f"✗ {total:,} messages or points unaccounted for: " + ", ".join(
        f"{count:,} {Missing[kind.upper()].value}" for kind, count in sorted(account.by_kind.items())
    )
    shown = _some_of_each_kind(account.findings)
    for finding in shown:
        yield "  " + line_of(finding)
    if total > len(shown):
        yield f"  and {total - len(shown):,} more (--json has the first {len(account.findings):,})"


def _some_of_each_kind(findings: list[Finding]) -> list[Finding]:
    """At most `SHOWN`, and no kind hidden behind a thousand of another."""
    kinds = {finding.missing for finding in findings}
    left = dict.fromkeys(kinds, SHOWN // max(1, len(kinds)))
    shown = []
    for finding in findings:
        if left[finding.missing]:
            left[finding.missing] -= 1
            shown.append(finding)
    return shown


def line_of(finding: Finding) -> str:
    """One finding as a line."""
    parts = [
        finding.place or "-",
        finding.device,
        "" if finding.seq is None else f"seq {finding.seq}",
        "no time" if finding.event_us is None else iso(finding.event_us),
        ", ".join(finding.sensors) or "the whole message",
        finding.missing.value + (f" ({finding.detail})" if finding.detail else ""),
    ]
    return "  ".join(part for part in parts if part)


def _lacking(count: int) -> str:
    return f" + UNACCOUNTED {count:,}" if count else ""


def _by_reason(counts: dict[str, int]) -> str:
    total = f"{sum(counts.values()):,}"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
    return f"{total} ({reasons})" if reasons else total


def _named(ledger: Ledger) -> dict[str, Any]:
    return msgspec.structs.asdict(ledger) | {
        "missing_messages": ledger.missing_messages,
        "missing_readings": ledger.missing_readings,
    }
