"""How lines are stored although InfluxDB refuses some, and is away at times."""

from collections.abc import Sequence
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sink.outcomes import STORED, Outcome, Verdict
from services.sink.storing import Refusal, store


class Server:
    """Takes lines but the bad ones; like InfluxDB, it may have written the neighbours of a bad line, or not."""

    def __init__(self, bad: set[bytes], *, counts_dropped: bool = False, most_bytes: int = 10**9) -> None:
        self.bad = bad
        self.counts_dropped = counts_dropped
        self.most_bytes = most_bytes
        self.requests: list[list[bytes]] = []
        self.stored: list[bytes] = []
        self.trouble: list[Outcome] = []

    def write(self, lines: Sequence[bytes]) -> Outcome:
        self.requests.append(list(lines))
        if self.trouble:
            return self.trouble.pop(0)
        if len(b"\n".join(lines)) > self.most_bytes:
            return Outcome(Verdict.TOO_LARGE, "HTTP 413: too large")
        guilty = [line for line in lines if line in self.bad]
        if not guilty:
            self.stored += lines
            return STORED
        if self.counts_dropped:
            self.stored += [line for line in lines if line not in self.bad]
            return Outcome(Verdict.REFUSED, "HTTP 400: type conflict", dropped=len(guilty))
        return Outcome(Verdict.REFUSED, "HTTP 400: unable to parse")


def numbered(count: int) -> list[bytes]:
    return [b"line %d" % i for i in range(count)]


def never(outcome: Outcome) -> None:
    pytest.fail(f"waited for {outcome}")


@given(st.integers(0, 60), st.sets(st.integers(0, 59)), st.integers(1, 70), st.booleans())
def test_exactly_the_guilty_lines_are_refused_and_all_others_stored(count, bad, most_lines, counts_dropped):
    lines = numbered(count)
    server = Server({lines[i] for i in bad if i < count}, counts_dropped=counts_dropped)
    refusals = store(lines, server.write, never, most_lines)
    assert [r.line for r in refusals] == sorted(i for i in bad if i < count)
    assert set(server.stored) == set(lines) - server.bad


@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(1, 70), st.booleans())
def test_the_last_write_of_each_line_comes_in_order(count, bad, most_lines, counts_dropped):
    """Of two lines for one point, the later must win: also where a refused write had stored it before."""
    lines = numbered(count)
    server = Server({lines[i] for i in bad if i < count}, counts_dropped=counts_dropped)
    store(lines, server.write, never, most_lines)
    last = {line: position for position, line in enumerate(server.stored)}
    assert sorted(last, key=last.__getitem__) == [line for line in lines if line in last]


def test_one_bad_line_of_a_thousand_costs_two_requests_a_halving():
    lines = numbered(1000)
    server = Server({lines[613]})
    assert store(lines, server.write, never, 5000) == [Refusal(613, "HTTP 400: unable to parse")]
    assert len(server.requests) <= 1 + 2 * ceil(log2(1000))


def test_a_batch_that_was_dropped_whole_is_not_halved():
    lines = numbered(1000)
    server = Server(set(lines), counts_dropped=True)
    assert len(store(lines, server.write, never, 5000)) == 1000
    assert len(server.requests) == 1


def test_no_request_holds_more_lines_than_the_limit():
    server = Server(set())
    store(numbered(25), server.write, never, 10)
    assert [len(r) for r in server.requests] == [10, 10, 5]


def test_what_is_too_large_is_halved_until_it_fits():
    server = Server(set(), most_bytes=30)
    assert store(numbered(16), server.write, never, 100) == []
    assert server.stored == numbered(16)


def test_a_single_line_that_is_too_large_is_refused():
    lines = [b"short", b"x" * 100, b"brief"]
    server = Server(set(), most_bytes=30)
    assert store(lines, server.write, never, 100) == [Refusal(1, "HTTP 413: too large")]
    assert server.stored == [b"short", b"brief"]


@pytest.mark.parametrize("verdict", [Verdict.LATER, Verdict.MISCONFIGURED])
def test_lines_wait_as_long_as_it_takes_and_are_never_dropped(verdict: Verdict):
    server = Server(set())
    server.trouble = [Outcome(verdict, "no")] * 50
    waits: list[Outcome] = []
    assert store(numbered(3), server.write, waits.append, 100) == []
    assert server.stored == numbered(3)
    assert len(waits) == 50


def test_trouble_in_the_middle_of_halving_loses_nothing():
    lines = numbered(8)
    server = Server({lines[5]})
    waits: list[Outcome] = []

    def write(part: Sequence[bytes]) -> Outcome:
        if len(server.requests) % 2:
            server.trouble = [Outcome(Verdict.LATER, "away")]
        return server.write(part)

    assert [r.line for r in store(lines, write, waits.append, 100)] == [5]
    assert set(server.stored) == set(lines) - {lines[5]}
    assert waits
