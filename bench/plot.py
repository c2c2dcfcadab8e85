"""Draws the results, in the rivals' environment: `python -m bench.plot latest.json performance.svg`. A panel a row."""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt


def main() -> None:
    """Read, draw, write."""
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stages = {
        row: {name: figures for name, figures in stage.items() if "spread" in figures} for row, stage in results.items()
    }
    stages = {row: stage for row, stage in stages.items() if stage}
    mpl.rcParams["svg.hashsalt"] = "weir"
    figure, axes = plt.subplots(len(stages), 1, figsize=(8, 0.9 + 1.9 * len(stages)), squeeze=False)
    for axis, (row, stage) in zip(axes[:, 0], stages.items(), strict=True):
        names = sorted(stage, key=lambda name: -stage[name]["cpu_s_per_million"])
        costs = [stage[name]["cpu_s_per_million"] for name in names]
        below = [cost - stage[name]["spread"][0] for name, cost in zip(names, costs, strict=True)]
        above = [stage[name]["spread"][1] - cost for name, cost in zip(names, costs, strict=True)]
        colours = ["#1f77b4" if name == "weir" else "#b0b0b0" for name in names]
        bars = axis.barh(names, costs, color=colours, xerr=[below, above], ecolor="#505050", capsize=2)
        axis.bar_label(bars, labels=[f"{cost:.1f}" for cost in costs], padding=6, fontsize=8)
        axis.margins(x=0.12)
        axis.set_title(row, loc="left", fontsize=10)
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("CPU seconds per million messages (bars: median, whiskers: least and most)")
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
