"""One run: watch a contender work off its messages, and account for what it used from a mark on."""

import time
from collections.abc import Callable
from typing import Final

from bench.figures import Run, Sample, at_mark
from bench.processes import Contender, ContenderFailed

_STANDSTILL_S: Final = 180.0
_LOOK_S: Final = 0.1


def run(contender: Contender, done: Callable[[], int], total: int, mark: int, look_s: float = _LOOK_S) -> Run:
    """Wait until `done()` says `total`, ask the contender to leave, and account from `mark` messages on.

    Leaving is part of the cost: that is where a last checkpoint or batch is written.

    Raises:
        ContenderFailed: It ended, or nothing moved for three minutes.
    """
    samples = [Sample(0, contender.cpu_s(), time.monotonic())]
    moved_at = time.monotonic()
    while True:
        sample = Sample(done(), contender.cpu_s(), time.monotonic())
        if sample.done > samples[-1].done:
            moved_at = sample.at_s
            samples.append(sample)
        elif not samples[-1].done:
            # Starting up: what it costs counts for nobody.
            samples = [Sample(0, sample.cpu_s, sample.at_s)]
        if sample.done >= total:
            break
        if sample.at_s - moved_at > _STANDSTILL_S:
            raise ContenderFailed(f"stood still at {sample.done} of {total} messages: {contender.said()}")
        time.sleep(look_s)
    begin, before_leaving, rss_mb = at_mark(samples, mark), contender.cpu_s(), contender.rss_mb()
    cpu_s = contender.stop()
    return Run(
        messages=total - mark,
        cpu_s=cpu_s - begin.cpu_s,
        wall_s=max(1e-9, samples[-1].at_s - begin.at_s),
        rss_mb=rss_mb,
        leave_cpu_s=cpu_s - before_leaving,
    )
