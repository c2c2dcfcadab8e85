"""A sensor's own rhythm: what turns durations into numbers of readings, whatever the sampling rate."""

import itertools
from typing import Final

from services.scoring.state import register_fields

_LONGEST_WAIT_STEPS: Final = 10.0
_ADJUSTMENT: Final = 1.02


class Pace:
    """The typical step between readings (s), and how much time a reading stands for.

    The step is a running median: it starts as the median step of the first readings and moves 2 % up or down with each
    reading (a frugal estimate: Ma, Muthukrishnan, Sandler 2013). A pause counts as ten steps at most: what a silent
    device did is unknown, and its model does not fade meanwhile. A time at or before the latest counts as no time.
    """

    __slots__ = ("elapsed_s", "latest_us", "step_s")

    def __init__(self) -> None:
        self.latest_us = 0
        self.step_s = 1.0
        self.elapsed_s = 0.0

    def begin(self, event_times_us: list[int]) -> None:
        """Learn the step from the first readings' times."""
        steps = sorted(b - a for a, b in itertools.pairwise(event_times_us) if b > a)
        self.step_s = steps[len(steps) // 2] * 1e-6 if steps else 1.0
        self.latest_us = event_times_us[0]

    def observe(self, event_us: int) -> float:
        """Take a reading's event time; the seconds that it stands for."""
        elapsed_us = event_us - self.latest_us
        if elapsed_us <= 0:
            self.elapsed_s = 0.0
            return 0.0
        self.latest_us = event_us
        elapsed = elapsed_us * 1e-6
        step = self.step_s = self.step_s * _ADJUSTMENT if elapsed > self.step_s else self.step_s / _ADJUSTMENT
        elapsed = self.elapsed_s = min(elapsed, _LONGEST_WAIT_STEPS * step)
        return elapsed


register_fields(Pace, "pace.1", "latest_us", "step_s")
