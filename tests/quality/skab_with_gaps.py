"""SKAB with 30 % of the fields missing: `python -m tests.quality.skab_with_gaps BENCHMARK` (see `leave_one_group_out`).

Each field of each message of the development files is left out with that probability, seeded; the whole is scored as
SKAB is, at the alarm line.
"""

import argparse
import random
from pathlib import Path
from typing import NamedTuple

from services.scoring import make_device_scorer
from services.scoring.severity import ALARM_LINE
from tests.quality.leave_one_group_out import rule_of


class Found(NamedTuple):
    """F1, in [0, 1]; false alarms and missed, in % of rows."""

    f1: float
    false: float
    missed: float


def found(folder: Path, missing: float, seed: int) -> Found:
    """What the product makes of SKAB's development files, with fields missing."""
    rule = rule_of(folder)
    files = rule.load_skab(folder / "data")
    numbers = random.Random(seed)
    scores: dict[str, list[float]] = {}
    for name in rule.split_names(files, "dev"):
        scorer = make_device_scorer()
        scores[name] = []
        for at, values in zip(*files[name][:2], strict=True):
            left = {sensor: value for sensor, value in values.items() if numbers.random() >= missing}
            scores[name].append(scorer.update(at, left))
    return Found(*rule.skab_eval(files, scores, ALARM_LINE))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("benchmark", type=Path)
    arguments.add_argument("--seeds", type=int, default=5)
    chosen = arguments.parse_args()
    whole = found(chosen.benchmark, 0.0, 0)
    print("nothing missing: F1 {:.3f}, false {:.1f} %, missed {:.1f} %".format(*whole), flush=True)
    falls = []
    for seed in range(chosen.seeds):
        gaps = found(chosen.benchmark, 0.3, seed)
        falls.append(whole.f1 - gaps.f1)
        print("30 % missing: F1 {:.3f}, false {:.1f} %, missed {:.1f} %".format(*gaps), flush=True)
    print(f"F1 falls by {sum(falls) / len(falls):.3f}, at most {max(falls):.3f}")
