"""What docs/scoring.md says of the scores, measured: `python -m tests.quality.promises` (nice 10; an hour and a half).

Simulated and seeded: two runs give the same figures. `--only faults clean-600s --runs 3` measures a part. Ends non-zero
where a promise is not kept.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from services.scoring.spec import DEFAULT_SPEC
from tests.quality import measures
from tests.quality.clean_signals import KINDS
from tests.quality.measures import WITHIN_READINGS
from tests.quality.recordings import read, rows_that_differ

PACES_S = (600, 60, 1)
ADOPTION_STEPS = 1_130
ADOPTION_S = 6 * 3_600


class Finding(NamedTuple):
    """One figure beside what it must be."""

    what: str
    figure: str
    promised: str
    is_kept: bool


def clean(step_s: int, runs: int) -> Iterator[Finding]:
    """Alarms of healthy sensors."""
    most = 2.0 * DEFAULT_SPEC.alarms_per_week
    for kind in KINDS:
        found = [measures.alarms_of_clean_data(kind, step_s, seed) for seed in range(runs)]
        mean = sum(found) / runs
        figure = f"{mean:.2f} a week (worst run {max(found):.1f})"
        yield Finding(f"alarms on clean {kind}, every {step_s} s", figure, f"at most {most:.0f}", mean <= most)


def faults(runs: int) -> Iterator[Finding]:
    """Steps, drifts, long faults."""
    for history, share in ((100, 0.9), (200, 0.99), (1_000, 0.99)):
        for step_s in PACES_S:
            found = sum(measures.step_is_found(history, step_s, seed) for seed in range(10 * runs)) / (10 * runs)
            what = f"step of 10 sd after {history} readings, every {step_s} s, found within {WITHIN_READINGS}"
            yield Finding(what, f"{found:.1%}", f"at least {share:.0%}", found >= share)
    for history in (300, 500, 1_000, 3_000):
        for step_s in PACES_S:
            found = sum(measures.drift_is_found(history, step_s, seed) for seed in range(2 * runs)) / (2 * runs)
            what = f"drift of 4 sd over 500 readings after {history}, every {step_s} s, found before its end"
            yield Finding(what, f"{found:.1%}", "at least 90%", found >= 0.9)
    for step_s in PACES_S:
        found = sum(measures.long_fault_is_scored_at_its_end(step_s, seed) for seed in range(runs)) / runs
        yield Finding(
            f"fault of 1,000 readings, every {step_s} s, is one at its end", f"{found:.0%}", "100%", found == 1
        )
        stated_s = max(ADOPTION_S, ADOPTION_STEPS * step_s)
        late = (
            max(measures.adopted_after_s(step_s, seed, 1.2 * stated_s) for seed in range(max(1, runs // 4))) / stated_s
        )
        yield Finding(
            f"new regime, every {step_s} s, is adopted", f"{late:.2f} of the time", "1 (5% more)", late <= 1.05
        )


def stuck(runs: int) -> Iterator[Finding]:
    """Sensors that stand still."""
    for kind in ("noise", "cycles", "quantised"):
        for history, step_s in itertools.product((1_000, 2_000), PACES_S):
            found = sum(measures.stuck_is_found(kind, step_s, seed, history) for seed in range(runs)) / runs
            what = f"stuck {kind} after {history} readings, every {step_s} s, found in its patience"
            yield Finding(what, f"{found:.0%}", "95%", found >= 0.95)


def disturbances(runs: int) -> Iterator[Finding]:
    """What must not poison a model."""
    for what in measures.DISTURBANCES:
        found = [measures.poisoning(what, seed) for seed in range(runs)]
        device, sensors, part = (max(column) for column in zip(*found, strict=True))
        mean = sum(each.part for each in found) / runs
        figure = f"{device:.3f} of the device, {sensors:.3f} of a sensor; {mean:.2%} by 0.02 (worst run {part:.1%})"
        is_kept = max(device, sensors) < measures.NO_DIFFERENCE
        yield Finding(f"{what}: later scores differ by", figure, "under 0.02", is_kept)


def culprits(runs: int) -> Iterator[Finding]:
    """Single-sensor faults on devices of six sensors."""
    found = [measures.culprit_is_right(fault, seed) for fault in measures.FAULTS for seed in range(5 * runs // 2)]
    alarmed = [right for is_found, right, _ in found if is_found]
    share = sum(alarmed) / max(1, len(alarmed))
    what = f"culprit right in {len(alarmed)} of {len(found)} faults that were found"
    yield Finding(what, f"{share:.1%}", "at least 95%", share >= 0.95)
    slowest = sorted(took_ms for *_, took_ms in found)[-len(found) // 100 - 1]
    yield Finding("an explanation takes (99 %)", f"{slowest:.2f} ms", "under 2 ms", slowest < 2.0)


PARTS = MappingProxyType(
    {
        "faults": faults,
        "stuck": stuck,
        "disturbances": disturbances,
        "culprits": culprits,
        "clean-600s": lambda runs: clean(600, runs),
        "clean-60s": lambda runs: clean(60, runs),
        "clean-1s": lambda runs: clean(1, runs),
    }
)
"""By name; each gives its findings for a number of seeds."""


def main(parts: list[str], runs: int) -> bool:
    """Print the findings of `parts` as a table; whether all promises are kept."""
    kept = True
    print("| | found | promised | |\n|---|---|---|---|", flush=True)
    for part in parts:
        measure: Callable[[int], Iterator[Finding]] = PARTS[part]
        for finding in measure(runs):
            kept = kept and finding.is_kept
            print(
                f"| {finding.what} | {finding.figure} | {finding.promised} | {'' if finding.is_kept else 'NO'} |",
                flush=True,
            )
    return kept


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--recordings", nargs="+", type=Path, help="only send these CSV files through the stream")
    arguments.add_argument("--runs", type=int, default=20, help="seeds (times ten for steps, times two for drifts)")
    chosen = arguments.parse_args()
    if chosen.recordings:
        different = {path: rows_that_differ(read(path)) for path in chosen.recordings}
        wrong = {str(path): rows for path, rows in different.items() if rows}
        sys.exit(f"the stream differs from the scorer alone in {wrong}" if wrong else 0)
    sys.exit(not main(chosen.only, chosen.runs))
