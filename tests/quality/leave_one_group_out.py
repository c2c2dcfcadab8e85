"""NAB with weights that have not seen what they score: `python -m tests.quality.leave_one_group_out BENCHMARK`.

BENCHMARK is a folder with NAB's files, `splits.json` and `score.py` (NAB's rule). For each group of files the weights
of the views are fitted anew on the development files of the others: from 1 for all, each in turn is set to the best of
a coarse grid, twice over. With these the group is scored, and all groups together give one NAB score. Some minutes on
two cores; `--grid 0 0.25 0.5 1 1.5 2` takes twice as long.
"""

import argparse
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from services.scoring import build, make_sensor_scorer
from services.scoring.severity import ALARM_LINE

Weights = dict[str, tuple[float, ...]]

GRID = (0.5, 1.0, 2.0)
START = 1.0
SWEEPS = 2
PROFILES = ("standard", "low_FP", "low_FN")
FITTED = ("_LEVEL", "_SPREAD_WEIGHT", "_DAY", "_WEEK", "_SEQUENCE", "_RUN", "_GAUSSIAN")
"""The views' weights, as `services.scoring.build` names them."""


class Benchmark:
    """The development files of NAB, and its rule."""

    def __init__(self, folder: Path) -> None:
        self.rule: Any = rule_of(folder)
        files = self.rule.load_nab(folder / "data")
        self.files = {name: files[name] for name in self.rule.split_names(files, "dev")}

    def groups(self) -> list[str]:
        """Of files: NAB's folders."""
        return sorted({group_of(name) for name in self.files})

    def scores(self, name: str, weights: Weights) -> list[float]:
        """The product's alarm scores of one file, with other weights."""
        for view, numbers in weights.items():
            setattr(build, view, numbers if len(numbers) > 1 else numbers[0])
        scorer = make_sensor_scorer()
        times, values, _ = self.files[name]
        return [scorer.update(at, value) for at, value in zip(times, values, strict=True)]

    def judged(self, scores: Mapping[str, list[float]]) -> dict[str, float]:
        """By profile: the NAB score of these files together, at the alarm line."""
        prepared, windows = self.rule.nab_prepare(self.files, list(scores))
        curve = self.rule.nab_curve(prepared, scores, windows)
        return {profile: self.rule.nab_at(curve, ALARM_LINE, profile)[0] for profile in PROFILES}


def rule_of(folder: Path) -> Any:
    """The benchmark's own program, `score.py`."""
    spec = importlib.util.spec_from_file_location("benchmark_rule", folder / "score.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{folder}: no score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def group_of(name: str) -> str:
    """The folder that a file is in."""
    return name.partition("/")[0]


def fitted(benchmark: Benchmark, names: list[str], grid: Sequence[float]) -> Weights:
    """Weights that are good for these files: a search along one weight after another."""
    weights = neutral()
    places = [(view, place) for view, numbers in weights.items() for place in range(len(numbers))]
    best = _quality(benchmark, names, weights)
    for _ in range(SWEEPS):
        for view, place in places:
            for tried in _neighbours(weights, view, place, grid):
                quality = _quality(benchmark, names, tried)
                if quality > best:
                    best, weights = quality, tried
    return weights


def neutral() -> Weights:
    """One weight for all, which has seen nothing."""
    shipped = {view: getattr(build, view) for view in FITTED}
    return {view: (START,) * (len(found) if isinstance(found, tuple) else 1) for view, found in shipped.items()}


def fold(folder: Path, grid: Sequence[float], group: str) -> tuple[Weights, dict[str, list[float]]]:
    """The weights fitted without `group`, and what they make of its files."""
    benchmark = _benchmark(folder)
    weights = fitted(benchmark, [name for name in benchmark.files if group_of(name) != group], grid)
    return weights, {name: benchmark.scores(name, weights) for name in benchmark.files if group_of(name) == group}


def main(folder: Path, grid: Sequence[float], jobs: int) -> None:
    """Print what each group's fit found, and the NAB score of all groups."""
    benchmark = _benchmark(folder)
    unfitted = benchmark.judged({name: benchmark.scores(name, neutral()) for name in benchmark.files})
    print(f"{START} for all: {_said(unfitted)}", flush=True)
    scores: dict[str, list[float]] = {}
    with ProcessPoolExecutor(jobs) as workers:
        found = workers.map(partial(fold, folder, grid), benchmark.groups())
        for group, (weights, own) in zip(benchmark.groups(), found, strict=True):
            scores |= own
            print(f"{group}: {weights}", flush=True)
    print(f"all, each without its own: {_said(benchmark.judged(scores))}")


def _quality(benchmark: Benchmark, names: list[str], weights: Weights) -> float:
    return benchmark.judged({name: benchmark.scores(name, weights) for name in names})["standard"]


def _neighbours(weights: Weights, view: str, place: int, grid: Sequence[float]) -> Iterator[Weights]:
    numbers = weights[view]
    for tried in grid:
        if tried != numbers[place]:
            yield weights | {view: (*numbers[:place], tried, *numbers[place + 1 :])}


def _said(judged: Mapping[str, float]) -> str:
    return ", ".join(f"{profile} {score:.1f}" for profile, score in judged.items())


@cache
def _benchmark(folder: Path) -> Benchmark:
    return Benchmark(folder)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("benchmark", type=Path)
    arguments.add_argument("--grid", nargs="+", type=float, default=GRID)
    arguments.add_argument("--jobs", type=int, default=2)
    chosen = arguments.parse_args()
    main(chosen.benchmark, chosen.grid, chosen.jobs)
