"""Gets a list of lines into InfluxDB, all but those that it refuses for good. Pure over what `write` answers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.sink.outcomes import Outcome, Verdict

Write = Callable[[Sequence[bytes]], Outcome]
Wait = Callable[[Outcome], None]
"""Called with an outcome that asks for time; returns when it is time to try again, or raises to give up the batch."""


class Refusal(NamedTuple):
    """A line that InfluxDB will never take."""

    line: int
    """Its index in the list."""
    why: str


def store(lines: Sequence[bytes], write: Write, wait: Wait, most_lines: int) -> list[Refusal]:
    """Write `lines`, at most `most_lines` at a time, until each is stored or refused; returns the refused, in order.

    A refused write is halved until its guilty lines stand alone. InfluxDB may have written the others already: they
    are written again, which changes nothing. Parts are written from left to right, so that the last line of a point
    is the last to be written.
    """
    refusals: list[Refusal] = []
    parts = [(start, min(start + most_lines, len(lines))) for start in range(0, len(lines), most_lines)][::-1]
    while parts:
        start, end = parts.pop()
        outcome = write(lines[start:end])
        match outcome.verdict:
            case Verdict.STORED:
                continue
            case Verdict.LATER | Verdict.MISCONFIGURED:
                parts.append((start, end))
                wait(outcome)
            case Verdict.REFUSED | Verdict.TOO_LARGE if end - start > 1 and outcome.dropped != end - start:
                middle = (start + end) // 2
                parts += [(middle, end), (start, middle)]
            case Verdict.REFUSED | Verdict.TOO_LARGE:
                refusals += [Refusal(index, outcome.why) for index in range(start, end)]
    return refusals
