"""NAB with weights that have not seen what they score: `python -m tests.quality.leave_one_group_out BENCHMARK`.

BENCHMARK is a folder with NAB's files, `splits.json` and `score.py` (NAB's rule). For each group of files the weights of
the views are fitted anew on the development files of the others: from one and the same weight for all, each in turn is
set to the best of a coarse grid, twice over. With these the group is scored, and all groups together give one NAB
score. Twenty minutes on two cores.
"""

import argparse
import importlib.util
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from services.scoring import build, make_sensor_scorer
from services.scoring.severity import ALARM_LINE

Weights = dict[str, tuple[float, ...]]

GRID = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
START = 1.0
SWEEPS = 2
PROFILES = ("standard", "low_FP", "low_FN")
FITTED = ("_LEVEL", "_SPREAD_WEIGHT", "_DAY", "_WEEK", "_SEQUENCE", "_RUN", "_GAUSSIAN")
"""The views' weights, as `services.scoring.build` names them."""


class Benchmark:
    """The development files of NAB, and its rule."""

    def __init__(self, folder: Path) -> None:
        self.rule: Any = _loaded(folder / "score.py")
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


def group_of(name: str) -> str:
    """The folder that a file is in."""
    return name.split("/")[0]


def fitted(benchmark: Benchmark, names: list[str]) -> Weights:
    """Weights that are good for these files: a search along one weight after another."""
    weights = {view: (START,) * _size(view) for view in FITTED}
    best = _quality(benchmark, names, weights)
    for _ in range(SWEEPS):
        for view, place in [(view, place) for view in FITTED for place in range(_size(view))]:
            for tried in _neighbours(weights, view, place):
                quality = _quality(benchmark, names, tried)
                if quality > best:
                    best, weights = quality, tried
    return weights


def fold(folder: Path, group: str) -> tuple[Weights, dict[str, list[float]]]:
    """The weights fitted without `group`, and what they make of its files."""
    benchmark = _benchmark(folder)
    weights = fitted(benchmark, [name for name in benchmark.files if group_of(name) != group])
    return weights, {name: benchmark.scores(name, weights) for name in benchmark.files if group_of(name) == group}


def main(folder: Path, jobs: int) -> None:
    """Print what each group's fit found, and the NAB score of all groups."""
    benchmark = _benchmark(folder)
    scores: dict[str, list[float]] = {}
    with ProcessPoolExecutor(jobs) as workers:
        for group, found in zip(
            benchmark.groups(), workers.map(partial(fold, folder), benchmark.groups()), strict=True
        ):
            weights, own = found
            scores |= own
            print(f"{group}: {_said(benchmark.judged(own))}; {weights}", flush=True)
    print(f"all, each without its own: {_said(benchmark.judged(scores))}")


def _quality(benchmark: Benchmark, names: list[str], weights: Weights) -> float:
    return benchmark.judged({name: benchmark.scores(name, weights) for name in names})["standard"]


def _neighbours(weights: Weights, view: str, place: int) -> Iterator[Weights]:
    numbers = weights[view]
    for tried in GRID:
        if tried != numbers[place]:
            yield weights | {view: (*numbers[:place], tried, *numbers[place + 1 :])}


def _size(view: str) -> int:
    shipped = getattr(build, view)
    return len(shipped) if isinstance(shipped, tuple) else 1


def _said(judged: Mapping[str, float]) -> str:
    return ", ".join(f"{profile} {score:.1f}" for profile, score in judged.items())


@cache
def _benchmark(folder: Path) -> Benchmark:
    return Benchmark(folder)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_rule", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path}: not a Python file; give the folder that holds the benchmark's score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("benchmark", type=Path)
    arguments.add_argument("--jobs", type=int, default=2)
    chosen = arguments.parse_args()
    main(chosen.benchmark, chosen.jobs)
