"""A worker that stood still does nothing more with what may be another's."""

import pytest

from services.alerts.lease import Lease
from services.runtime.errors import Unavailable


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def a_lease() -> tuple[Lease, Clock]:
    clock = Clock()
    return Lease(10.0, clock), clock


def test_a_process_that_runs_keeps_its_lease_for_ever():
    lease, clock = a_lease()
    for _ in range(1000):
        clock.now_s += 4.0
        lease.check()
        lease.beat()
    lease.check()


def test_a_process_that_stands_still_for_half_a_session_has_lost_its_lease_at_once():
    lease, clock = a_lease()
    clock.now_s += 6.0
    with pytest.raises(Unavailable, match=r"stood still for 6\.0 s"):
        lease.check()


def test_a_lease_that_was_lost_stays_lost_also_when_the_beat_comes_before_the_check():
    lease, clock = a_lease()
    clock.now_s += 6.0
    lease.beat()
    clock.now_s += 0.1
    lease.beat()
    with pytest.raises(Unavailable, match="another worker may own"):
        lease.check()
