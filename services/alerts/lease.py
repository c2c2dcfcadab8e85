"""Notices that this process stood still, so that it does nothing with what may be another worker's by now.

A frozen process (SIGSTOP, a paused container) is put out of its group, and thaws with records in hand that its
successor has read too. Acting on them would write alarms out of order, and tell people again.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from services.runtime.errors import Unavailable

_BEATS: Final = 20
"""In the time that a process may stand still."""


class Lease:
    """What Kafka gave us is ours while this process runs: its client's heartbeats stop only when everything does.

    A process that stood still for half a session may have lost its partitions without knowing it yet.
    """

    def __init__(self, session_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = session_s / 2
        self._clock_s = clock_s
        self._beaten_s = clock_s()
        self._stood_still_s = 0.0

    def keep(self) -> "Lease":
        """Beat from a thread of its own, until the process ends."""
        threading.Thread(target=self._run, name="lease", daemon=True).start()
        return self

    def beat(self) -> None:
        """The process runs."""
        now_s = self._clock_s()
        self._stood_still_s = max(self._stood_still_s, now_s - self._beaten_s)
        self._beaten_s = now_s

    def check(self) -> None:
        """Call before anything that others see.

        Raises:
            Unavailable: The process stood still; it must end, and begin again from what is durable.
        """
        stood_still_s = max(self._stood_still_s, self._clock_s() - self._beaten_s)
        if stood_still_s > self._limit_s:
            raise Unavailable(
                f"this process stood still for {stood_still_s:.1f} s, and another worker may own its partitions"
            )

    def _run(self) -> None:
        while True:
            self.beat()
            time.sleep(self._limit_s / _BEATS)
