"""The table of a run, as text and as Markdown."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.drill.oracle import Verdict


@dataclass
class Result:
    """What came of one row. It is good when it has no failures; `not_run` says why it could not be played here."""

    name: str
    fault: str
    bite: str = ""
    recovered_s: float | None = None
    seconds: float = 0.0
    verdict: Verdict | None = None
    unequal: list[str] | None = None
    failures: list[str] = field(default_factory=list)
    """Faults that did not bite, deadlines that were missed; not what the verdict says."""
    not_run: str = ""

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in words."""
        found = list(self.failures)
        if self.verdict is not None:
            found += [f"lost: {one}" for one in self.verdict.lost]
            found += [f"doubled: {one}" for one in self.verdict.doubled]
            found += [f"wrong: {one}" for one in self.verdict.wrong]
        return found + [f"unequal: {one}" for one in self.unequal or ()]

    @property
    def good(self) -> bool:
        """Whether the row holds, or could not be run here."""
        return not self.problems


MOST_SHOWN = 30
"""Problems of a row that the report spells out."""

HEADER = (
    "fault",
    "acknowledged",
    "stored",
    "dead-lettered",
    "in gaps",
    "lost",
    "doubled",
    "wrong",
    "equal",
    "how it bit",
    "recovered in",
)


def cells(result: Result) -> tuple[str, ...]:
    """A result as a line of the table."""
    verdict = result.verdict
    if verdict is None:
        return (result.fault, *[""] * 8, result.not_run or "failed", "")
    recovered = "" if result.recovered_s is None else f"{result.recovered_s:.0f} s"
    numbers = (verdict.acknowledged, verdict.stored, verdict.dead_lettered, verdict.in_gaps)
    findings = (len(verdict.lost), len(verdict.doubled), len(verdict.wrong))
    equal = "yes" if result.unequal == [] else "" if result.unequal is None else f"{len(result.unequal)} not"
    bite = result.bite or "did not bite"
    return (result.fault, *map(_thousands, numbers), *map(_thousands, findings), equal, bite, recovered)


def markdown(results: Sequence[Result]) -> str:
    """The table in Markdown, with a line of sums."""
    rows = [cells(result) for result in results]
    align = ["---", *["---:"] * 7, "---", "---", "---:"]
    lines = ["| " + " | ".join(row) + " |" for row in (HEADER, align, *rows, _sums(results))]
    return "\n".join(lines) + "\n"


def document(results: Sequence[Result], *, seed: int, took_s: float) -> str:
    """The report of a run: what ran where, the table, and every problem in words."""
    bad = [result for result in results if not result.good]
    lines = [
        f"Seed {seed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {took_s / 60:.0f} min, on {machine()}.",
        "",
        markdown(results),
    ]
    for result in bad:
        shown, more = result.problems[:MOST_SHOWN], len(result.problems) - MOST_SHOWN
        lines += [f"**{result.name}**", "", *[f"- {problem}" for problem in shown]]
        lines += [f"- and {more} more", ""] if more > 0 else [""]
    return "\n".join(lines)


def counts(results: Sequence[Result]) -> list[dict[str, Any]]:
    """By row, how much was lost, doubled, wrong and unequal; and what failed, in words."""
    return [
        {
            "name": result.name,
            "lost": len(result.verdict.lost) if result.verdict else 0,
            "doubled": len(result.verdict.doubled) if result.verdict else 0,
            "wrong": len(result.verdict.wrong) if result.verdict else 0,
            "unequal": len(result.unequal or ()),
            "failures": result.failures,
            "not_run": result.not_run,
            "bite": result.bite,
        }
        for result in results
    ]


def machine() -> str:
    """This machine in a few words."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "CPU"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    return f"{cores} x {model}, {memory / 2**20:.0f} GiB, {platform.system()} {platform.release()}"


def _sums(results: Sequence[Result]) -> tuple[str, ...]:
    found = [result.verdict for result in results if result.verdict is not None]
    numbers = (
        sum(v.acknowledged for v in found),
        sum(v.stored for v in found),
        sum(v.dead_lettered for v in found),
        sum(v.in_gaps for v in found),
        sum(len(v.lost) for v in found),
        sum(len(v.doubled) for v in found),
        sum(len(v.wrong) for v in found),
    )
    return ("**all**", *map(_thousands, numbers), "", "", "")


def _thousands(number: int) -> str:
    return f"{number:,}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
