"""Draws a status for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.console.pulse import adds_up

if TYPE_CHECKING:
    from services.console.status import Status


def print_status(status: Status) -> None:
    """On stdout; in colour where that is a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    where = f"local stack in {status.run_dir}" if status.run_dir else "no local stack runs; asking as configured"
    console.print(Text.assemble(("Weir", "bold cyan"), "  ", where))
    console.print("  ".join(f"{name} {address}" for name, address in status.addresses.items()))
    if status.servers:
        console.print("  ".join(f"{name} {state.lower()}" for name, state in sorted(status.servers.items())))
    console.print()
    console.print(_services(status))
    console.print()
    for group in status.groups:
        console.print(_group(group.group, group.members, group.topics))
    console.print()
    for line in ledger_lines(status):
        console.print(line)
    if status.dead_letters:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in status.dead_letters.items())
        console.print(f"dead letters  {counts}  (see them: weir dead-letter list)")
    if status.gap_messages:
        console.print(
            f"gaps          {status.gap_messages:,} messages did not reach Weir, by their seq, since the workers"
            " started  (see them: weir tail gaps --no-follow)"
        )
    console.print()
    if status.ok:
        console.print("✓ everything is fine", style="green")
    for problem in status.problems:
        console.print(Text.assemble(("✗ ", "bold red"), problem))


def ledger_lines(status: Status) -> list[Text]:
    """Both ledgers, as sums."""
    ledger = status.ledger
    mark = ("✓ ", "green") if adds_up(ledger) else ("✗ ", "bold red")
    tick = Text.assemble(mark if status.ledger_known else ("? ", "yellow"), status.ledger_verdict)
    return [
        Text(
            f"messages  received {ledger.received:,} = decoded {ledger.decoded:,}"
            f" + dead-lettered {sum(ledger.dead_messages.values()):,} + redelivered {ledger.redelivered:,}"
        ),
        Text(
            f"readings  decoded {ledger.readings_decoded:,} = stored {ledger.readings_stored:,}"
            f" + dead-lettered {sum(ledger.dead_readings.values()):,} + duplicates {ledger.readings_duplicates:,}"
        ),
        Text.assemble("ledger    ", tick),
    ]


def _services(status: Status) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("service", "state", "pid", "ready", "rate", "lag"):
        table.add_column(name, no_wrap=True)
    for name, service in status.services.items():
        vital = service.vital
        rate = "no report" if vital is None else "…" if vital.rate is None else f"{vital.rate:,.1f} {vital.unit}/s"
        table.add_row(
            Text(name, "bold"),
            (service.state or "-").lower(),
            str(service.pid or "-"),
            Text("yes", "green") if service.ready else Text("no", "red"),
            rate,
            "-" if vital is None else f"{vital.lag:,} {vital.waiting}",
        )
    return table


def _group(name: str, members: int, behind: dict[str, int]) -> Text:
    total = sum(behind.values())
    if not behind:
        said = "has committed nothing yet"
    elif not total:
        said = "lag 0"
    else:
        parts = ", ".join(f"{topic} {lag:,}" for topic, lag in behind.items() if lag)
        said = f"lag {total:,} in flight ({parts})"
    return Text(f"group {name}: {members} member{'' if members == 1 else 's'}, {said}")
