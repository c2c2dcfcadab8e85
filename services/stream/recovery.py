"""Recovery: what a partition of the state topic says, when read to its true end. Pure.

The highest applied offset wins, not the last record: a worker that was frozen past its session may write an older state
after its successor wrote a newer one. Where that happened, the newer is written again at the next checkpoint.
"""

from collections.abc import Iterable
from typing import Final

from services.runtime.errors import ConfigurationError
from services.stream.device import applied_of
from services.stream.device_table import Restored

RAW_TOPIC_KEY: Final = b"$raw-topic"
"""Its value names the raw topic (by Kafka's topic id) whose offsets the state is led by."""


class Merge:
    """The state of one partition, as its records are read: only the best of each key is held."""

    def __init__(self) -> None:
        self.raw_topic_id: str | None = None
        """Id of the raw topic that the state belongs to; None: never written."""
        self._best: dict[bytes, bytes] = {}
        self._stale: set[bytes] = set()

    def take(self, key: bytes, value: bytes | None) -> None:
        """The next record of the log; a value of None removes the key."""
        best = self._best
        if key == RAW_TOPIC_KEY:
            self.raw_topic_id = value.decode() if value else None
        elif value is None:
            best.pop(key, None)
            self._stale.discard(key)
        elif key in best and applied_of(value) < applied_of(best[key]):
            self._stale.add(key)
        else:
            best[key] = value
            self._stale.discard(key)

    def restored(self) -> Restored:
        """The state by key."""
        return Restored(self._best, frozenset(self._stale))


def merge(records: Iterable[tuple[bytes, bytes | None]]) -> tuple[Restored, str | None]:
    """The state by key, and the id of the raw topic that it belongs to, from all of a partition's records in order."""
    merged = Merge()
    for key, value in records:
        merged.take(key, value)
    return merged.restored(), merged.raw_topic_id


def check_origin(
    partition: int, restored: Restored, known_id: str | None, raw_id: str, raw_end: int, committed: int | None
) -> None:
    """Refuse state that does not belong to the raw topic that is there. `committed`: the group's next offset, if any.

    Raises:
        ConfigurationError: The raw topic was made anew or lost its tail, or the state is gone; names the fix.
    """
    fix = (
        "if that is meant, stop all stream workers and run `weir stream --rebuild`: the stream then starts from the "
        "beginning of the log as it is"
    )
    if known_id is not None and known_id != raw_id:
        raise ConfigurationError(
            f"partition {partition}: the state belongs to a telemetry.raw with id {known_id}, here is {raw_id}; {fix}"
        )
    if committed is not None and known_id is None:
        # The id is written before the first commit, so it can only have been removed since.
        raise ConfigurationError(f"partition {partition}: there are commits up to {committed} but no state; {fix}")
    if committed is not None and committed > raw_end:
        raise ConfigurationError(
            f"partition {partition}: {committed} is committed, telemetry.raw ends at {raw_end}; {fix}"
        )
    highest = max((applied_of(value) for value in restored.values.values()), default=-1)
    if highest >= raw_end:
        raise ConfigurationError(
            f"partition {partition}: the state has applied offset {highest}, telemetry.raw ends at {raw_end}; {fix}"
        )
