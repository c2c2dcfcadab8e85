"""`python -m tests.faults.drill.mutants`: breaks each promise on purpose, and expects the drill's short form to see it.

Each patch of tests/faults/mutants is applied to a copy of the tree in a temporary folder, and the short form is run
there. A mutant is caught when a row finds something lost, doubled, wrong or unequal; a run that merely ends badly has
caught nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.faults.drill.plant import ROOT

PATCHES: Final = ROOT / "tests" / "faults" / "mutants"
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv", ".run", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)
_RUN_S: Final = 1800


def patches() -> list[Path]:
    """All mutants."""
    return sorted(PATCHES.glob("*.patch"))


def copy_of_the_tree(folder: Path) -> Path:
    """The tree as it stands, without what was built or run in it."""
    return Path(shutil.copytree(ROOT, folder / "tree", ignore=_LEFT_OUT, symlinks=True))


def apply(patch: Path, tree: Path) -> None:
    """Raises CalledProcessError where the patch does not fit the code any more."""
    subprocess.run(["git", "apply", "--whitespace=nowarn", str(patch)], cwd=tree, check=True)


def run(patch: Path, seed: int, rows: str) -> tuple[str, float]:
    """What the short form found in a tree with this patch, empty where nothing; and how long it took, in seconds."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"weir-mutant-{patch.stem}-"))
    tree, results = copy_of_the_tree(folder), folder / "results.json"
    apply(patch, tree)
    which = ["--only", rows] if rows else ["--short"]
    command = [sys.executable, "-m", "tests.faults.drill", "--seed", str(seed), "--results", str(results), *which]
    with (folder / "drill.out").open("wb") as out:
        subprocess.run(command, cwd=tree, stdout=out, stderr=subprocess.STDOUT, timeout=_RUN_S, check=False)
    found = findings(json.loads(results.read_text())) if results.exists() else ""
    if found:
        shutil.rmtree(folder)
    else:
        print(f"{patch.stem}: nothing found; see {folder}/drill.out", flush=True)
    return found, time.monotonic() - began


def findings(results: list[dict[str, object]]) -> str:
    """By row, how much was lost, doubled, wrong or unequal; empty where nothing was."""
    kinds = ("lost", "doubled", "wrong", "unequal")
    rows = [(row["name"], ", ".join(f"{row[kind]} {kind}" for kind in kinds if row[kind])) for row in results]
    return "; ".join(f"{name}: {text}" for name, text in rows if text)


def main() -> int:
    """0 where every mutant was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.drill.mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutant", default="", help="this one only (a part of its name)")
    parser.add_argument("--rows", default="", metavar="ROW,ROW", help="these rows in place of the short form")
    options = parser.parse_args()
    lines = []
    for patch in patches():
        if options.mutant in patch.stem:
            found, took_s = run(patch, options.seed, options.rows)
            lines.append((patch.stem.replace("-", " "), found or "NOT CAUGHT", f"{took_s / 60:.0f} min"))
            print(" | ".join(lines[-1]), flush=True)
    print("\n| mutant | what the short form found | took |\n| --- | --- | ---: |")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), flush=True)
    return 0 if all(found != "NOT CAUGHT" for _, found, _ in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
