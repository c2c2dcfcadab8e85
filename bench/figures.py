"""From single runs to the figures that are published: medians, spread, ratios. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeAlias

Entry: TypeAlias = dict[str, Any]
Results: TypeAlias = dict[str, dict[str, Entry]]
"""Stage -> contender -> figures."""


class Run(NamedTuple):
    """One run of one contender: what it cost from the end of its warm-up on.

    `messages` were worked off in `wall_s` for `cpu_s` (user and system, all threads). `rss_mb` is the most memory that
    it held, `leave_cpu_s` what it spent after it was asked to leave, which is part of `cpu_s`.
    """

    messages: int
    cpu_s: float
    wall_s: float
    rss_mb: float
    leave_cpu_s: float


class Sample(NamedTuple):
    """How far a contender was: messages done, CPU seconds used, at a monotonic time in s."""

    done: int
    cpu_s: float
    at_s: float


def at_mark(samples: Sequence[Sample], mark: int) -> Sample:
    """Where it stood when `mark` messages were done, between two samples on the line through them.

    >>> at_mark([Sample(0, 1.0, 0.0), Sample(100, 3.0, 4.0)], 50)
    Sample(done=50, cpu_s=2.0, at_s=2.0)
    """
    before = samples[0]
    for sample in samples:
        if sample.done >= mark:
            if sample.done == before.done:
                return sample
            part = (mark - before.done) / (sample.done - before.done)
            return Sample(
                mark,
                before.cpu_s + part * (sample.cpu_s - before.cpu_s),
                before.at_s + part * (sample.at_s - before.at_s),
            )
        before = sample
    raise ValueError(f"the mark of {mark} messages was never reached: {samples[-1].done} were")


def entry(runs: Sequence[Run], notes: str = "") -> Entry:
    """The figures of one contender: medians; `spread` is the least and the most CPU s per million."""
    costs = sorted(run.cpu_s / run.messages * 1e6 for run in runs)
    found: Entry = {
        "cpu_s_per_million": round(median(costs), 2),
        "per_s": round(median(run.messages / run.wall_s for run in runs)),
        "spread": [round(costs[0], 2), round(costs[-1], 2)],
        "runs": len(runs),
        "messages": runs[0].messages,
        "rss_mb": round(median(run.rss_mb for run in runs)),
        "leave_cpu_s": round(median(run.leave_cpu_s for run in runs), 2),
    }
    return found | ({"notes": notes} if notes else {})


def with_ratios(stage: Mapping[str, Entry], to: str = "weir") -> dict[str, Entry]:
    """The same, with `times_weir`: how many times Weir's cost each contender has. Errors pass through."""
    own = stage.get(to, {}).get("cpu_s_per_million")
    return {
        name: figures | {f"times_{to}": round(figures["cpu_s_per_million"] / own, 2)}
        if own and "cpu_s_per_million" in figures
        else dict(figures)
        for name, figures in stage.items()
    }


def ratio(stage: Mapping[str, Entry], one: str, other: str) -> float:
    """How many times the cost of `other` the cost of `one` is."""
    return float(stage[one]["cpu_s_per_million"] / stage[other]["cpu_s_per_million"])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0..1) of the values do not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]
