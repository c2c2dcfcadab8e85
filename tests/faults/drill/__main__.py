"""`python -m tests.faults.drill`: see the package."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from deploy.local.servers import install
from tests.faults.drill import report
from tests.faults.drill.plant import Plant
from tests.faults.drill.row import Row
from tests.faults.drill.rows import ALL, SHORT
from tests.faults.drill.run import Run

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """A line of progress, with minutes and seconds since the start."""
    minutes, seconds = divmod(round(time.monotonic() - _BEGAN), 60)
    print(f"{minutes:02d}:{seconds:02d} {line}", flush=True)


def chosen_rows(only: str, *, short: bool) -> list[Row]:
    """The rows that were asked for, in the order of the table."""
    names = {row.name for row in ALL}
    wanted = set(only.split(",")) if only else set(SHORT) if short else names
    if unknown := wanted - names:
        raise SystemExit(f"no such rows: {', '.join(sorted(unknown))}; there are: {', '.join(row.name for row in ALL)}")
    return [row for row in ALL if row.name in wanted]


def main() -> int:
    """Run the drill; 0 where nothing was lost, doubled or unequal and every fault bit."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.drill", description="Every fault, then the account.")
    parser.add_argument("--seed", type=int, default=None, help="replays a run; without it, one is drawn and printed")
    parser.add_argument("--only", default="", metavar="ROW,ROW", help="these rows")
    parser.add_argument("--short", action="store_true", help="the three compound rows that catch every mutant")
    parser.add_argument("--output", type=Path, help="write the report there, as Markdown")
    parser.add_argument("--results", type=Path, help="write there what was found in each row, as JSON")
    parser.add_argument("--folder", type=Path, help="keep data and logs there; without it they go when all is well")
    options = parser.parse_args()
    seed = time.time_ns() % 1_000_000 if options.seed is None else options.seed
    rows = chosen_rows(options.only, short=options.short)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="weir-drill-"))
    say(f"seed {seed}, {len(rows)} rows, data and logs in {folder}")
    install(1)
    plant = Plant(folder)
    try:
        plant.start()
        say("the plant stands")
        results = Run(plant, seed, say=say).all(rows)
    finally:
        plant.stop()
    text = report.document(results, seed=seed, took_s=time.monotonic() - _BEGAN)
    print("", text, sep="\n", flush=True)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")
        say(f"the report is in {options.output}")
    if options.results is not None:
        options.results.write_text(json.dumps(report.counts(results)), encoding="utf-8")
    good = all(result.good for result in results)
    if good and options.folder is None:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
