"""What is audited of a partition, when a range was asked for or retention has removed something."""

from __future__ import annotations

import msgspec
from console_records import NOON_US

from services.console.audit.device import Fate
from services.console.audit.ranges import CLOCKS_APART_US, ranges_of
from services.console.log_slices import Slice
from tests.unit.console.audit_world import World
from tests.unit.stream.stream_builders import message

MINUTE_US = 60_000_000


class Log:
    """One partition: a record a minute since noon on each topic, of which retention has removed the first ones."""

    def __init__(self, **removed: int) -> None:
        self.removed = removed

    def bounds(self, topic, partitions):
        return {p: Slice(self.removed.get(topic.rsplit(".", 1)[1].replace("-", "_"), 0), 100) for p in partitions}

    def offsets_at(self, topic, at_us, bounds):
        wanted = -(-(at_us - NOON_US) // MINUTE_US)
        return {p: min(max(wanted, there.first), there.end) for p, there in bounds.items()}

    def written_us(self, topic, partition, slice_):
        return NOON_US + slice_.first * MINUTE_US if slice_.size else None


def ranges(log, since=None, until=None):
    since_us, until_us = (None if at is None else NOON_US + at * MINUTE_US for at in (since, until))
    return ranges_of(log, 0, applied=100, stored=100, since_us=since_us, until_us=until_us)


def test_all_of_a_whole_log_is_judged():
    raw = ranges(Log()).raw
    assert (raw.slice_, raw.judged, raw.whole, raw.is_cut) == (Slice(0, 100), 0, True, False)


def test_a_range_that_ends_early_is_no_device_s_whole_life():
    raw = ranges(Log(), until=40).raw
    assert (raw.slice_, raw.whole, raw.is_cut) == (Slice(0, 40), False, False)


def test_what_came_of_messages_after_the_range_is_not_judged():
    record = World(message(0, 1, flow=1.0)).clean[0]
    of = ranges(Log(), until=40)
    end_us = NOON_US + 40 * MINUTE_US
    came = [msgspec.structs.replace(record, received_us=at_us) for at_us in (end_us - 1, end_us)]
    fates = [of.fate_of_clean(one, 7) for one in came]
    assert fates == [Fate.JUDGED, Fate.OUTSIDE]


def test_a_message_whose_clean_record_retention_has_removed_is_not_judged():
    slack = CLOCKS_APART_US // MINUTE_US
    raw = ranges(Log(raw=10, clean=30)).raw
    assert (raw.judged, raw.is_cut, raw.whole) == (30 + slack, True, False)
    raw = ranges(Log(clean=30), since=60).raw
    assert (raw.judged, raw.is_cut) == (60, False)
    assert ranges(Log(clean=100)).raw.judged == 100


def test_dead_letters_that_are_gone_by_age_hide_nothing():
    assert ranges(Log(dead_letter=99)).raw.judged == 0
