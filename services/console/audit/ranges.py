"""From where to where each topic is audited: the times asked for, as far as Kafka still holds all of it."""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from schemas import topics
from services.console.audit.partition import Range, Ranges
from services.console.log_slices import Slice
from services.runtime.clock import now_us
from services.stream.clock_rules import MAX_LEAD_US

LOOK_BACK_US: Final = 600_000_000
"""So much before the range is read too, so that repeats of messages from there are known."""
CLOCKS_APART_US: Final = 60_000_000
"""So much the clocks of the machines may differ that write into Kafka."""


class Log(Protocol):
    """What is asked of Kafka; see `LogSlices`."""

    def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Slice]:
        """Partition -> all that is there of it."""

    def offsets_at(self, topic: str, at_us: int, bounds: Mapping[int, Slice]) -> dict[int, int]:
        """Partition -> offset of the first record that was written then or later."""

    def written_us(self, topic: str, partition: int, slice_: Slice) -> int | None:
        """When the slice's first record was written; None: it has none."""


def ranges_of(
    log: Log, partition: int, *, applied: int, stored: int, since_us: int | None, until_us: int | None
) -> Ranges:
    """What to audit of one partition, of which the stream has committed `applied`, and the sink `stored`."""
    letters, clean, raw = (
        log.bounds(topic, [partition])[partition] for topic in (topics.DEAD_LETTER, topics.CLEAN, topics.RAW)
    )
    first = (
        letters.first if since_us is None else _at(log, topics.DEAD_LETTER, partition, letters, since_us - LOOK_BACK_US)
    )
    of_raw = _range(log, topics.RAW, partition, raw, applied, since_us)
    judged = max(of_raw.judged, _clean_kept_from(log, partition, raw, clean))
    end = raw.end if until_us is None else _at(log, topics.RAW, partition, raw, until_us)
    return Ranges(
        of_raw._replace(
            slice_=Slice(of_raw.slice_.first, end),
            judged=judged,
            whole=of_raw.whole and judged == 0 and until_us is None,
            is_cut=of_raw.is_cut or judged > of_raw.judged,
        ),
        _range(log, topics.CLEAN, partition, clean, stored, since_us),
        Slice(first, letters.end),
        _complete_since_us(log, partition, clean),
        until_us,
    )


def _range(log: Log, topic: str, partition: int, there: Slice, committed: int, since_us: int | None) -> Range:
    first = there.first if since_us is None else _at(log, topic, partition, there, since_us - LOOK_BACK_US)
    judged = there.first if since_us is None else _at(log, topic, partition, there, since_us)
    return Range(
        Slice(first, there.end), judged, committed, whole=judged == 0 == there.first, is_cut=0 < there.first == judged
    )


def _clean_kept_from(log: Log, partition: int, raw: Slice, clean: Slice) -> int:
    """Offset on telemetry.raw from which on what came of a message is there.

    Clean records are larger than messages, so that a retention by size takes them sooner. Dead letters stay longer than
    both, and are so few that the age of the oldest one says nothing.
    """
    if clean.first == 0:
        return raw.first
    oldest_us = log.written_us(topics.CLEAN, partition, clean)
    if oldest_us is None:
        return raw.end
    # What came of a message was written after it, perhaps by another machine's clock.
    return _at(log, topics.RAW, partition, raw, oldest_us + CLOCKS_APART_US)


def _at(log: Log, topic: str, partition: int, there: Slice, at_us: int) -> int:
    return log.offsets_at(topic, at_us, {partition: there})[partition]


def _complete_since_us(log: Log, partition: int, there: Slice) -> int:
    if there.first == 0:
        return 0
    oldest_us = log.written_us(topics.CLEAN, partition, there)
    # A clock may run ahead: a reading can be written so long before its event time.
    return now_us() if oldest_us is None else oldest_us + MAX_LEAD_US
