"""Waiting longer after each failure, up to a limit, with jitter so that services do not knock in step."""

import random


class Backoff:
    """Delays for one dependency: doubles from `first_s` to `limit_s`, ±25 %; `reset` after a success."""

    def __init__(self, first_s: float = 0.2, limit_s: float = 10.0) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._next_s = first_s

    def next_s(self, asked_s: float | None = None) -> float:
        """Seconds to wait now; never less than the dependency asked for (`Retry-After`)."""
        delay = self._next_s * random.uniform(0.75, 1.25)
        self._next_s = min(self._next_s * 2, self._limit_s)
        return max(delay, asked_s or 0.0)

    def reset(self) -> None:
        """The dependency answered."""
        self._next_s = self._first_s
