"""Which sequence numbers never arrived, from the records of telemetry.gaps. Pure."""

import msgspec

from schemas.telemetry import Gap, GapPhase


class Gaps(msgspec.Struct):
    """What the stream says is missing; loss before the bridge, which no ledger counts."""

    messages: int
    ranges: int
    devices: int


class GapTally:
    """Takes gap records in the order of their topic; a withdrawn range is missing no more, a repeat changes nothing."""

    def __init__(self) -> None:
        self._open: dict[str, set[tuple[int, int, int]]] = {}

    def take(self, gap: Gap) -> None:
        """The next record."""
        ranges = self._open.setdefault(f"{gap.tenant}/{gap.device}", set())
        span = (gap.epoch, gap.first_seq, gap.last_seq)
        if gap.phase is GapPhase.MISSING:
            ranges.add(span)
        elif gap.phase is GapPhase.WITHDRAWN:
            ranges.discard(span)

    def sum(self) -> Gaps:
        """Over all devices."""
        open_ = [ranges for ranges in self._open.values() if ranges]
        messages = sum(last - first + 1 for ranges in open_ for _, first, last in ranges)
        return Gaps(messages, sum(map(len, open_)), len(open_))
