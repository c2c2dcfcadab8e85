"""The sink's ports over plain data: a log, a database and a dead-letter topic that outlive a killed sink."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.dead_letter import DeadLetter
from services.sink.batches import BatchAbandoned, Record
from services.sink.outcomes import STORED, Outcome, Verdict

Partition = tuple[str, int]


@dataclass(frozen=True)
class FakeRecord:
    """A record as confluent_kafka gives it."""

    partition_: Partition
    offset_: int
    value_: bytes | None
    key_: bytes | None = b"acme/pump-1"

    def topic(self) -> str:
        return self.partition_[0]

    def partition(self) -> int:
        return self.partition_[1]

    def offset(self) -> int:
        return self.offset_

    def key(self) -> bytes | None:
        return self.key_

    def value(self) -> bytes | None:
        return self.value_

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_700_000_000_000)


@dataclass
class FakeLog:
    """Kafka: partitions and what the group has committed."""

    partitions: dict[Partition, list[FakeRecord]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)

    def append(self, topic: str, partition: int, *values: bytes | None) -> None:
        records = self.partitions.setdefault((topic, partition), [])
        for value in values:
            records.append(FakeRecord((topic, partition), len(records), value))

    def all_acknowledged(self) -> bool:
        return all(self.committed.get(p, 0) == len(records) for p, records in self.partitions.items())


class FakeSource:
    """One member of the group; reads from what is committed."""

    def __init__(self, log: FakeLog, knife: Callable[[], None] = lambda: None) -> None:
        self._log = log
        self._knife = knife
        self._next = {p: log.committed.get(p, 0) for p in log.partitions}
        self._in_hand: dict[Partition, int] = {}
        self.lost_while_idle: list[Partition] = []
        self.on_commit: Callable[[], None] = lambda: None
        self.on_poll: Callable[[], None] = lambda: None
        self.idles = 0

    def read(self, most_records: int, wait_s: float) -> Sequence[Record]:
        self._knife()
        self.on_poll()
        records: list[Record] = []
        for partition, start in self._next.items():
            for record in self._log.partitions[partition][start : start + most_records - len(records)]:
                self._in_hand.setdefault(partition, record.offset())
                self._next[partition] = record.offset() + 1
                records.append(record)
        self._knife()
        return records

    def idle(self, seconds: float) -> None:
        self._knife()
        self.on_poll()
        self.idles += 1
        if self.lost_while_idle:
            for partition in self.lost_while_idle:
                del self._next[partition]
                self._in_hand.pop(partition, None)
            self.lost_while_idle = []
            raise BatchAbandoned

    def acknowledge(self) -> None:
        self._knife()
        for partition in self._in_hand:
            self._log.committed[partition] = self._next[partition]
        self._in_hand.clear()
        self.on_commit()
        self._knife()

    def rewind(self) -> None:
        self._knife()
        self._next |= self._in_hand
        self._in_hand.clear()


class FakeWriter:
    """A database that is idempotent, as InfluxDB is: same bucket, series and time is the same point, fields unite."""

    def __init__(self, knife: Callable[[], None] = lambda: None) -> None:
        self.knife = knife
        self.on_write: Callable[[], None] = lambda: None
        self.points: dict[tuple[str, bytes, bytes], dict[bytes, bytes]] = {}
        self.bad = (b"sensor=bad", b'="text"', b"=bad ")
        self.trouble: list[Outcome] = []
        self.writes = 0

    def write(self, bucket: str, lines: Sequence[bytes]) -> Outcome:
        self.knife()
        self.on_write()
        self.writes += 1
        if self.trouble:
            return self.trouble.pop(0)
        refused = 0
        for line in filter(None, lines):
            if any(bad in line for bad in self.bad):
                refused += 1
                continue
            series, fields, time = line.replace(b"\\ ", b"_").split(b" ")[:3]
            point = self.points.setdefault((bucket, series, time), {})
            point |= dict(f.split(b"=") for f in fields.split(b","))
        self.knife()
        return Outcome(Verdict.REFUSED, "HTTP 400: type conflict") if refused else STORED


class FakeGraveyard:
    """The dead-letter topic, by id: a letter that comes twice is one letter."""

    def __init__(self, knife: Callable[[], None] = lambda: None) -> None:
        self.knife = knife
        self.letters: dict[str, DeadLetter] = {}
        self.slow = False

    def deliver(self, letters: Sequence[DeadLetter], wait: Callable[[], None]) -> None:
        for letter in letters:
            self.knife()
            if self.slow:
                wait()
            self.letters[letter.id] = letter
            self.knife()
