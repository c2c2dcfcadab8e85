"""The wall clock and the monotonic clock, as values to pass in; the pure core takes times as arguments only."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns unix µs."""


def now_us() -> int:
    """Wall clock, unix µs."""
    return time.time_ns() // 1000
