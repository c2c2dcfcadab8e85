"""The order that keeps results exact: outputs durable, then state durable, then the input's offset.

`Worker` owns the partitions of one process. It speaks to Kafka only through the small port `Log`, so that a test can
kill it at any call and restart it from what a fake log holds.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from schemas import topics
from services.stream.arrival import RawRecord
from services.stream.device_table import Restored
from services.stream.pipeline import Output, PartitionPipeline

_encode = msgspec.json.Encoder().encode


class Log(Protocol):
    """What a worker needs of Kafka."""

    def send(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        """Hand over a record; it may still be lost until `flush` returns. Waits where the queue is full."""

    def flush(self) -> None:
        """Return when all that was sent is durable. Raises: then nothing of it counts as written."""

    def commit(self, offsets: Mapping[int, int]) -> bool:
        """Commit next offsets by partition of telemetry.raw; False when refused: another worker owns one of them."""


class Owned:
    """A partition while owned. `following`: the next offset to process; `committed`: that of the last commit."""

    __slots__ = ("committed", "following", "pipeline", "rebuilt_told")

    def __init__(self, pipeline: PartitionPipeline, following: int) -> None:
        self.pipeline = pipeline
        self.following = following
        self.committed = following
        self.rebuilt_told = 0


class Hole(Exception):
    """The fetched records skip offsets: seek back to `expected`; if the log really lacks them, accept it."""

    def __init__(self, partition: int, expected: int, found: int) -> None:
        super().__init__(f"partition {partition}: expected offset {expected}, found {found}")
        self.partition = partition
        self.expected = expected
        self.found = found


class Worker:
    """The partitions of one process, and their checkpoints."""

    def __init__(self, log: Log, open_partition: Callable[[int, Restored], PartitionPipeline]) -> None:
        self.partitions: dict[int, Owned] = {}
        self._log = log
        self._open = open_partition

    def assign(self, partition: int, restored: Restored, following: int) -> None:
        """Take a partition over, with its restored state, from the offset `following` on."""
        self.partitions[partition] = Owned(self._open(partition, restored), following)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions that another worker owns now."""
        for partition in partitions:
            self.partitions.pop(partition, None)

    def accept(self, partition: int, records: Sequence[RawRecord], *, holes_are_real: bool) -> list[RawRecord]:
        """The records that are next in line: none twice, none left out.

        Raises:
            Hole: Offsets are skipped, and it is not known yet that the log lacks them.
        """
        owned = self.partitions.get(partition)
        if owned is None:
            return []
        following = owned.following
        accepted: list[RawRecord] = []
        for record in records:
            offset = record.offset
            if offset < following:
                continue
            if offset > following and not holes_are_real:
                if accepted:
                    # What came before the hole is good; the hole shows again at the head of the next batch.
                    break
                raise Hole(partition, following, offset)
            accepted.append(record)
            following = offset + 1
        owned.following = following
        return accepted

    def publish(self, partition: int, outputs: Iterable[Output]) -> None:
        """Hand a batch's outputs over. Co-partitioned: the key that placed the input would place them the same."""
        send = self._log.send
        for topic, key, record in outputs:
            send(topic, partition, key, _encode(record))

    def checkpoint(self, partitions: Collection[int] | None = None) -> bool:
        """Make partitions (None: all) durable up to here. The order is the promise: outputs, then state, then offset.

        Returns whether the commit was taken; a refusal means that a successor owns a partition and will replay it,
        which the applied offsets in the state make harmless.
        """
        chosen = {p: owned for p, owned in self.partitions.items() if partitions is None or p in partitions}
        moved = {p: owned for p, owned in chosen.items() if owned.following > owned.committed}
        changes = {p: owned.pipeline.take_changes() for p, owned in chosen.items()}
        self._log.flush()
        for partition, changed in changes.items():
            for key, value in changed:
                self._log.send(topics.STREAM_STATE, partition, key, value)
        self._log.flush()
        offsets = {p: owned.following for p, owned in moved.items()}
        if offsets and not self._log.commit(offsets):
            return False
        for partition, owned in moved.items():
            owned.committed = offsets[partition]
        for partition, owned in chosen.items():
            for key in owned.pipeline.take_expired():
                self._log.send(topics.STREAM_STATE, partition, key, None)
        return True

    def models_rebuilt(self) -> int:
        """Devices whose models began to learn anew since this was last asked."""
        newly = 0
        for owned in self.partitions.values():
            newly += owned.pipeline.models_rebuilt - owned.rebuilt_told
            owned.rebuilt_told = owned.pipeline.models_rebuilt
        return newly

    def lag_of(self, ends: Mapping[int, int]) -> int:
        """Records not yet processed, given each partition's next offset."""
        return sum(max(0, end - self.partitions[p].following) for p, end in ends.items() if p in self.partitions)
