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


def merge(records: Iterable[tuple[bytes, bytes | None]]) -> tuple[Restored, str | None]:
    """The state by key, and the id of the raw topic that it belongs to (None: never written).

    `records` are (key, value) in the order of the log; a value of None removes the key.
    """
    best: dict[bytes, bytes] = {}
    stale: set[bytes] = set()
    raw_topic_id: str | None = None
    for key, value in records:
        if key == RAW_TOPIC_KEY:
            raw_topic_id = value.decode() if value else None
        elif value is None:
            best.pop(key, None)
            stale.discard(key)
        elif key in best and applied_of(value) < applied_of(best[key]):
            stale.add(key)
        else:
            best[key] = value
            stale.discard(key)
    return Restored(best, frozenset(stale)), raw_topic_id


def check_origin(partition: int, restored: Restored, known_id: str | None, raw_id: str, raw_end: int) -> None:
    """Refuse state that belongs to another raw topic than the one that is there.

    Raises:
        ConfigurationError: The raw topic was made anew, or lost its tail; names the fix.
    """
    fix = (
        "if that is meant, stop all stream workers and remove the topic weir-stream-state and the consumer group "
        "(kafka-topics --delete, kafka-consumer-groups --delete); the stream then starts from the log as it is"
    )
    if known_id is not None and known_id != raw_id:
        raise ConfigurationError(
            f"partition {partition}: the state belongs to a telemetry.raw with id {known_id}, here is {raw_id}; {fix}"
        )
    highest = max((applied_of(value) for value in restored.values.values()), default=-1)
    if highest >= raw_end:
        raise ConfigurationError(
            f"partition {partition}: the state has applied offset {highest}, telemetry.raw ends at {raw_end}; {fix}"
        )
