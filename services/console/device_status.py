"""`weir status --devices`: each device's ledger and alarms as checkpointed last, those first that need a look."""

import sys
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas import topics
from services.console import ending, local_stack
from services.console.device_ledgers import DeviceLedger, DeviceLedgers, is_overflow
from services.console.log_slices import LogSlices
from services.console.wording import printable
from services.runtime import clock, settings
from services.runtime.errors import ConfigurationError, ExitCode
from services.runtime.settings import ToolSettings

SHOWN: Final = 20
"""Devices that a person is shown."""

_WIDEST: Final = 1000
"""Characters that a table may have side by side."""

Named = tuple[str, DeviceLedger]
"""A device's key and its ledger."""


def run(device: str | None, *, as_json: bool) -> int:
    """Print all devices' ledgers, or one's; 0 where they add up, else 1."""
    local_stack.adopt()
    now_us = clock.now_us()
    told = settings.load(ToolSettings)
    log = LogSlices(told.kafka)
    try:
        found = worst_first(_read(log))
    finally:
        log.close()
    if device is not None:
        found = [named for named in found if named[0] == device]
        if not found:
            raise ConfigurationError(f"nothing was checkpointed of a device {device!r}; `weir status --devices`")
    if as_json:
        sys.stdout.write(to_json(found, now_us) + "\n")
    else:
        _print(found, now_us, in_full=device is not None)
    return ExitCode.OK if all(ledger.adds_up for _, ledger in found) else ending.PROBLEM


def worst_first(ledgers: Iterable[Named]) -> list[Named]:
    """Those that do not add up, then by their number of dead letters, most first."""
    return sorted(ledgers, key=lambda named: (named[1].adds_up, -named[1].dead, named[0], named[1].partition))


def to_json(found: list[Named], now_us: int) -> str:
    """For programs: all of them, in the same order."""
    devices = [_plain(*named, now_us) for named in found]
    return msgspec.json.format(msgspec.json.encode({"devices": devices}), indent=2).decode()


def alarms_of_late(of: DeviceLedger, now_us: int) -> float | None:
    """Alarms as the budget counts them, forgotten with a time constant of a week; None where that is not known."""
    return None if of.budget is None else of.budget.spent(now_us) * of.budget.alarms_per_week


def _plain(key: str, of: DeviceLedger, now_us: int) -> dict[str, Any]:
    return {
        "device": key,
        "partition": of.partition,
        "applied": of.applied,
        "adds_up": of.adds_up,
        **msgspec.structs.asdict(of.ledger),
        "missing_messages": of.ledger.missing_messages,
        "missing_readings": of.ledger.missing_readings,
        "alarms_of_late": alarms_of_late(of, now_us),
        "alarms_per_week": of.budget and of.budget.alarms_per_week,
    }


def _read(log: LogSlices) -> Iterable[Named]:
    for partition, there in log.bounds(topics.STREAM_STATE, log.partitions(topics.STREAM_STATE)).items():
        ledgers = DeviceLedgers(partition)
        for message in log.read(topics.STREAM_STATE, partition, there):
            ledgers.take(message.key() or b"", message.value())
        yield from ledgers


def _print(found: list[Named], now_us: int, *, in_full: bool) -> None:
    table = _table(found[:SHOWN], now_us)
    console = Console(highlight=False, soft_wrap=True)
    # rich measures what fits. A line that goes on below says more than names and numbers that are cut off.
    console.width = max(console.width, Console(width=_WIDEST).measure(table).maximum)
    console.print(table)
    if len(found) > SHOWN:
        rest = found[SHOWN:]
        dead, wrong = sum(ledger.dead for _, ledger in rest), sum(not ledger.adds_up for _, ledger in rest)
        verdict = f"{wrong:,} of them do not add up" if wrong else "all of them add up"
        console.print(f"and {len(rest):,} more with {dead:,} dead letters; {verdict} (--json has all)")
    if in_full:
        for _, of in found:
            console.print(f"dead messages  {_by_reason(of.ledger.dead_messages)}")
            console.print(f"dead readings  {_by_reason(of.ledger.dead_readings)}")
            console.print(f"as of offset {of.applied:,} of partition {of.partition} of telemetry.raw")


def _table(found: list[Named], now_us: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("device", no_wrap=True)
    for name in ("received", "decoded", "dead", "redelivered", "readings", "stored", "dead", "duplicates"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("alarms", justify="right", no_wrap=True)
    table.add_column("")
    for key, of in found:
        ledger = of.ledger
        counts = (
            ledger.received,
            ledger.decoded,
            sum(ledger.dead_messages.values()),
            ledger.redelivered,
            ledger.readings_decoded,
            ledger.readings_stored,
            sum(ledger.dead_readings.values()),
            ledger.readings_duplicates,
        )
        missing = f"✗ {ledger.missing_messages:,} messages, {ledger.missing_readings:,} readings missing"
        name = f"{key} (refused, forgotten)" if is_overflow(key) else key
        table.add_row(
            printable(name),
            *(f"{count:,}" for count in counts),
            "" if is_overflow(key) else _against_budget(of, now_us),
            Text("" if of.adds_up else missing, "bold red"),
        )
    return table


def _against_budget(of: DeviceLedger, now_us: int) -> Text:
    """Alarms of late, and the budget of a week; red where a further alarm takes more evidence for it."""
    alarms = alarms_of_late(of, now_us)
    if of.budget is None or alarms is None:
        return Text("?")
    return Text(f"{alarms:.1f} of {of.budget.alarms_per_week:g}", "red" if of.budget.spent(now_us) > 1.0 else "")


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items())) or "none"
