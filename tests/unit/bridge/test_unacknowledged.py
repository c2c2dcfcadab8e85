"""What waits for its PUBACK is released in receive order, never past a hole, and nothing of an older connection."""

from hypothesis import given
from hypothesis import strategies as st

from services.bridge.unacknowledged import Unacknowledged


def test_a_hole_holds_back_everything_behind_it():
    waiting = Unacknowledged()
    first, second, third = (waiting.open(mid) for mid in (1, 2, 3))

    second.durable = third.durable = True
    assert waiting.release() == []

    first.durable = True
    assert waiting.release() == [1, 2, 3]
    assert waiting.release() == []


def test_what_was_received_before_a_disconnect_is_never_acknowledged_after_it():
    waiting = Unacknowledged()
    old = waiting.open(1)
    assert waiting.forget() == 1

    new = waiting.open(1)
    old.durable = True
    assert waiting.release() == []

    new.durable = True
    assert waiting.release() == [1]
    assert old.generation != new.generation


STEPS = st.lists(st.one_of(st.just("open"), st.just("forget"), st.just("release"), st.integers(0, 60)), max_size=200)


@given(STEPS)
def test_released_is_always_a_durable_prefix_of_what_was_received(steps: list[str | int]):
    """An integer marks that message, of any generation, durable."""
    waiting, entries = Unacknowledged(), []
    expected: list[int] = []
    for step in steps:
        if step == "open":
            entries.append(waiting.open(len(entries)))
            expected.append(entries[-1].mid)
        elif step == "forget":
            assert waiting.forget() == len(expected)
            expected.clear()
        elif step == "release":
            ready = waiting.release()
            assert ready == expected[: len(ready)]
            assert all(entries[mid].durable for mid in ready)
            del expected[: len(ready)]
            assert not expected or not entries[expected[0]].durable
        elif step < len(entries):
            entries[step].durable = True
        assert len(waiting) == len(expected)
