"""What a device's sequence numbers tell: repeats, gaps, restarts."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import examples

from services.stream.sequence import MAX_HOLES, MAX_RANGE, REMEMBERED, RangeChange, Seen, Sequence

HOUR = 3600


class Counter:
    """A `Sequence` under test; one message each second of event time unless told."""

    def __init__(self) -> None:
        self.sequence = Sequence()
        self.changes: list[RangeChange] = []

    def see(self, *seqs: int, second: int | None = None, **how) -> list[Seen]:
        return [
            self.sequence.see(seq, seq if second is None else second, self.changes, **how) for seq in seqs
        ]  # fmt: skip

    def due(self, second: int) -> None:
        self.sequence.due(second, self.changes)

    @property
    def said(self) -> list[tuple[str, int, int, int]]:
        return [
            ("jump" if c.jump else "missing" if c.missing else "withdrawn", c.epoch, c.first, c.last)
            for c in self.changes
        ]


def test_in_order_nothing_is_said():
    counter = Counter()
    assert counter.see(*range(100)) == [Seen.NEW] * 100
    counter.due(HOUR)
    assert counter.said == []
    assert counter.sequence.holes == []


def test_a_device_may_begin_anywhere():
    counter = Counter()
    assert counter.see(5_000_000, 5_000_001) == [Seen.NEW, Seen.NEW]
    counter.due(2**62)
    assert counter.said == []


def test_a_gap_is_reported_only_when_the_watermark_has_passed_the_message_that_showed_it():
    counter = Counter()
    counter.see(1, 5)
    counter.due(4)
    assert counter.said == []
    counter.due(5)
    counter.due(6)
    assert counter.said == [("missing", 0, 2, 4)]


def test_a_gap_filled_in_time_is_never_mentioned():
    counter = Counter()
    assert counter.see(1, 5, 3, 2, 4) == [Seen.NEW] * 5
    counter.due(HOUR)
    assert counter.said == []


def test_a_reported_gap_filled_in_part_is_withdrawn_and_the_rest_reported_anew():
    counter = Counter()
    counter.see(1, 7)
    counter.due(7)
    assert counter.see(4) == [Seen.NEW]
    assert counter.said == [("missing", 0, 2, 6), ("withdrawn", 0, 2, 6), ("missing", 0, 2, 3), ("missing", 0, 5, 6)]


def test_a_reported_gap_filled_wholly_ends_withdrawn():
    counter = Counter()
    counter.see(1, 3)
    counter.due(3)
    counter.see(2)
    assert counter.said == [("missing", 0, 2, 2), ("withdrawn", 0, 2, 2)]


def test_the_same_number_with_no_newer_time_is_a_repeat():
    counter = Counter()
    assert counter.see(1, 2, 3, 2, 3, 1) == [Seen.NEW] * 3 + [Seen.DUPLICATE] * 3


def test_a_jump_back_with_a_newer_time_is_a_new_epoch_and_the_old_gaps_are_reported_at_once():
    counter = Counter()
    counter.see(100, 103)
    assert counter.see(0, second=104) == [Seen.NEW]
    assert counter.said == [("missing", 0, 101, 102)]
    assert counter.sequence.epoch == 1
    assert counter.see(0, second=104) == [Seen.DUPLICATE]


def test_a_restart_reports_gaps_noticed_later_than_the_counters_last_time():
    counter = Counter()
    counter.see(1, second=50)
    counter.see(3, second=60)
    counter.see(4, second=40)
    counter.see(0, second=41)
    assert counter.said == [("missing", 0, 2, 2)]


def restarted(last: int = 100, missing: tuple[int, ...] = ()) -> Counter:
    """Counted up to `last` with some left out, then from 0 again."""
    counter = Counter()
    counter.see(*(seq for seq in range(last + 1) if seq not in missing))
    counter.see(0, 1, second=last + 1)
    counter.changes.clear()
    return counter


def test_what_comes_again_from_before_a_restart_is_a_repeat_and_opens_no_gap():
    counter = restarted(100)
    assert counter.see(100, 99, 0, 1, 50) == [Seen.DUPLICATE] * 5
    assert counter.see(2, second=103) == [Seen.NEW]
    counter.due(HOUR)
    assert counter.said == []


def test_what_was_missing_before_a_restart_may_still_come_and_withdraws_its_gap():
    counter = restarted(100, missing=(97, 98))
    assert counter.see(97, 97) == [Seen.NEW, Seen.DUPLICATE]
    assert counter.said == [("withdrawn", 0, 97, 98), ("missing", 0, 98, 98)]


def test_of_before_a_restart_the_last_numbers_are_remembered_and_no_others():
    last = REMEMBERED + 9
    assert restarted(last).see(10) == [Seen.DUPLICATE]
    assert restarted(last).see(9) == [Seen.NEW]
    assert restarted(last, missing=(1, 3, 5, 7)).sequence.before == restarted(last).sequence.before


def test_a_device_whose_clock_went_back_after_a_restart_loses_nothing():
    counter = restarted(100)
    assert counter.see(2, second=40) == [Seen.NEW]
    assert counter.see(4, 5, 6, second=41) == [Seen.NEW] * 3


def test_without_a_clock_an_old_number_is_one_of_the_new_epoch():
    counter = restarted(100)
    assert counter.see(50, clocked=False) == [Seen.NEW]
    assert counter.see(60, clocked=False, repeated=True) == [Seen.NEW]


def test_a_leap_of_more_than_a_million_claims_no_loss():
    counter = Counter()
    counter.see(10, 10 + MAX_RANGE + 1)
    assert counter.said == []
    far = 10 + 2 * (MAX_RANGE + 2)
    counter.see(far)
    counter.due(2**62)
    assert counter.said[0] == ("jump", 0, 10 + MAX_RANGE + 2, far - 1)
    assert counter.sequence.epoch == 1


def test_the_first_messages_of_a_device_may_come_out_of_order():
    counter = Counter()
    counter.see(5, second=5)
    assert counter.see(2, second=2) == [Seen.NEW]
    assert counter.see(4, 3, second=3) == [Seen.NEW, Seen.NEW]
    counter.due(HOUR)
    assert counter.said == []
    assert counter.see(2, 3, 4, 5, second=2) == [Seen.DUPLICATE] * 4


def test_without_a_clock_a_late_number_fills_its_hole_and_a_seen_one_restarts():
    counter = Counter()
    counter.see(1, 4, second=1, clocked=False)
    assert counter.see(2, second=9, clocked=False) == [Seen.NEW]
    assert counter.sequence.epoch == 0
    assert counter.see(1, second=10, clocked=False, repeated=True) == [Seen.DUPLICATE]
    assert counter.see(1, second=11, clocked=False, repeated=False) == [Seen.NEW]
    assert counter.sequence.epoch == 1


def test_with_too_many_holes_the_oldest_is_reported_never_silently_given_up():
    counter = Counter()
    counter.see(*range(0, 2 * (MAX_HOLES + 3), 2))
    assert counter.said == [("missing", 0, 1, 1), ("missing", 0, 3, 3)]
    assert len(counter.sequence.holes) == MAX_HOLES


def test_what_comes_from_below_a_given_up_hole_is_taken_and_costs_no_other_number():
    counter = Counter()
    counter.see(0, 20, *range(22, 22 + 2 * (MAX_HOLES + 1), 2), second=1)
    assert counter.see(5, second=0) == [Seen.NEW]
    assert counter.see(*range(6, 20), second=0) == [Seen.NEW] * 14


def test_a_late_beginning_of_a_device_with_many_holes_costs_no_number_in_between():
    counter = Counter()
    counter.see(*range(1000, 1000 + 2 * (MAX_HOLES + 1), 2), second=1)
    assert len(counter.sequence.holes) == MAX_HOLES
    assert counter.see(5, second=0) == [Seen.NEW]
    assert counter.said == [("missing", 0, 6, 999)]
    assert counter.see(*range(6, 1000), second=0) == [Seen.NEW] * 994


ends = st.integers(1, 60)


@examples(200)
@given(st.data())
def test_each_number_is_new_once_and_what_never_came_is_reported(data):
    last = data.draw(ends)
    lost = data.draw(st.sets(st.integers(1, last - 1), max_size=30)) if last > 1 else set()
    sent = [n for n in range(last + 1) if n not in lost]
    again = data.draw(st.lists(st.sampled_from(sent), max_size=20))
    # The device's first message arrives first and its last one some time; all else in any order, some of it twice.
    order = [0, *data.draw(st.permutations([*sent[1:], *again]))]
    counter = Counter()
    new = [seq for seq in order if counter.see(seq) == [Seen.NEW]]
    assert sorted(new) == sent
    counter.due(last)
    counter.due(last + 1)
    assert {n for hole in counter.sequence.holes for n in range(hole.first, hole.last + 1)} == lost
    standing: set[tuple[int, int]] = set()
    for kind, _, first, until in counter.said:
        if kind == "missing":
            assert (first, until) not in standing
            standing.add((first, until))
        else:
            standing.remove((first, until))
    assert {n for first, until in standing for n in range(first, until + 1)} == lost


@examples(150)
@given(st.permutations(range(40)), st.integers(0, 39))
def test_reports_that_were_made_early_are_taken_back(order, watermark):
    counter = Counter()
    for seq in order:
        counter.see(seq)
        counter.due(watermark)
    counter.due(HOUR)
    standing: list[tuple[int, int]] = []
    for kind, epoch, first, last in counter.said:
        assert epoch == 0
        if kind == "missing":
            standing.append((first, last))
        else:
            standing.remove((first, last))
    assert standing == []


hostile = st.tuples(
    st.integers(0, 300) | st.integers(0, 2**63 - 1),
    st.integers(0, 50),
    st.booleans(),
    st.booleans(),
    st.integers(0, 60),
)


@examples(200)
@given(st.lists(hostile, max_size=200))
def test_hostile_numbers_neither_raise_nor_grow_the_memory(steps):
    counter = Counter()
    for seq, second, clocked, repeated, watermark in steps:
        counter.see(seq, second=second, clocked=clocked, repeated=repeated)
        counter.due(watermark)
        holes = counter.sequence.holes
        assert len(holes) <= MAX_HOLES
        edges = [counter.sequence.low, *(edge for hole in holes for edge in (hole.first, hole.last))]
        assert edges == sorted(edges)
    assert len(counter.changes) <= 10 * (len(steps) + MAX_HOLES)
    packed = msgspec.msgpack.encode(counter.sequence)
    assert msgspec.msgpack.decode(packed, type=Sequence) == counter.sequence
