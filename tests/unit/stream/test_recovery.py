"""State that does not belong to the log that is there is refused, with the fix."""

import pytest
from stream_builders import at, feed, message, pipeline

from services.runtime.errors import ConfigurationError
from services.stream.device_table import Restored
from services.stream.recovery import RAW_TOPIC_KEY, check_origin, merge


def state(applied: int, body: bytes = b"x") -> bytes:
    return applied.to_bytes(8, "big", signed=True) + body


def test_the_highest_applied_offset_wins_and_an_older_last_record_is_stale():
    restored, raw_id = merge([(RAW_TOPIC_KEY, b"id-1"), (b"t/a", state(7)), (b"t/a", state(5)), (b"t/b", state(1))])
    assert raw_id == "id-1"
    assert restored == Restored({b"t/a": state(7), b"t/b": state(1)}, frozenset({b"t/a"}))


def test_a_removed_key_is_gone_and_may_come_back():
    assert merge([(b"t/a", state(7)), (b"t/a", None)])[0].values == {}
    assert merge([(b"t/a", state(7)), (b"t/a", None), (b"t/a", state(9))])[0].values == {b"t/a": state(9)}


def test_a_first_start_and_a_normal_restart_are_accepted():
    check_origin(0, Restored({}), None, "id-1", raw_end=100, committed=None)
    check_origin(0, Restored({b"t/a": state(99)}), "id-1", "id-1", raw_end=100, committed=100)


@pytest.mark.parametrize(
    ("restored", "known_id", "committed", "why"),
    [
        (Restored({}), "id-0", 10, "belongs to a telemetry.raw with id id-0"),
        (Restored({b"t/a": state(100)}), "id-1", 10, "applied offset 100"),
        (Restored({}), "id-1", 101, "101 is committed"),
        (Restored({}), None, 10, "no state"),
    ],
)
def test_what_does_not_fit_the_log_is_refused_with_the_fix(restored, known_id, committed, why):
    with pytest.raises(ConfigurationError, match=why) as refused:
        check_origin(0, restored, known_id, "id-1", raw_end=100, committed=committed)
    assert "weir stream --rebuild" in str(refused.value)


def test_windows_of_a_device_that_fell_silent_before_a_takeover_are_shown():
    before = pipeline()
    feed(before, message(1, 1, flow=20.0))
    restored, _ = merge(before.take_changes())
    after = pipeline(restored=restored)
    shown = [output.record for output in after.idle_windows(at(30), at(30))]
    assert [(w.width_us, w.count, w.provisional) for w in shown] == [(10_000_000, 1, True)]
