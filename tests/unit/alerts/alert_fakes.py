"""The worker's ports over plain data: a log, a journal and people who are told; they outlive a killed worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from knife import Knife

from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.telemetry import Aggregate
from services.alerts import state
from services.alerts.courier import Answer, Courier, Outcome
from services.alerts.outbox import Entry, Lane
from services.alerts.rules import Channel, Rules, Source
from services.alerts.state import DeviceState
from services.alerts.worker import Record, StateWrite, Worker


@dataclass
class World:
    """What is durable, and what people were told."""

    log: list[tuple[int, Source, bytes]] = field(default_factory=list)
    """Partition, source and value; the offset is the place among its partition and source."""
    events: list[AlarmEvent] = field(default_factory=list)
    states: list[StateWrite] = field(default_factory=list)
    committed: dict[tuple[Source, int], int] = field(default_factory=dict)
    told: list[tuple[Channel, str]] = field(default_factory=list)

    def append(self, record: Anomaly | Aggregate, partition: int = 0) -> None:
        source = Source.ANOMALIES if isinstance(record, Anomaly) else Source.AGGREGATES
        self.log.append((partition, source, msgspec.json.encode(record)))

    def uncommitted(self) -> list[Record]:
        """Records from the committed offsets on, in the order in which they were written."""
        records, following = [], dict[tuple[Source, int], int]()
        for partition, source, value in self.log:
            offset = following.get((source, partition), 0)
            following[source, partition] = offset + 1
            if offset >= self.committed.get((source, partition), 0):
                records.append(Record(source, partition, offset, value))
        return records

    def states_of(self, partition: int) -> list[tuple[str, bytes]]:
        return [(w.key, w.value) for w in self.states if w.partition == partition and w.value is not None]

    def in_outboxes(self) -> set[tuple[Channel, str]]:
        """What the durable states say is still to be told."""
        best: dict[str, DeviceState] = {}
        for write in self.states:
            if write.value is None:
                del best[write.key]
                continue
            found = state.decode(write.value)
            best[write.key] = state.merged(best[write.key], found) if write.key in best else found
        return {
            (n.channel, n.event.id)
            for device in best.values()
            for watch in (device.anomalies, device.aggregates)
            for n in watch.outbox
        }


class FakeJournal:
    """Durable at once."""

    def __init__(self, world: World, cut: Knife) -> None:
        self._world = world
        self._cut = cut

    def events(self, events: Sequence[AlarmEvent]) -> None:
        for event in events:
            self._cut()
            self._world.events.append(event)
        self._cut()

    def states(self, states: Sequence[StateWrite]) -> None:
        for write in states:
            self._cut()
            self._world.states.append(write)
        self._cut()

    def commit(self, positions: Mapping[tuple[Source, int], int]) -> None:
        self._cut()
        self._world.committed.update(positions)
        self._cut()


class FakeCarrier:
    """Tells people; the outcomes are given, then all goes well."""

    parallel = 2

    def __init__(self, channel: Channel, world: World, cut: Knife, outcomes: Sequence[Outcome] = ()) -> None:
        self.channel = channel
        self._world = world
        self._cut = cut
        self._outcomes = list(outcomes)
        self._answers: list[Answer] = []

    def send(self, entry: Entry) -> None:
        self._cut()
        outcome = self._outcomes.pop(0) if self._outcomes else Outcome.SENT
        if outcome is Outcome.SENT:
            self._world.told.append((self.channel, entry.id))
        self._cut()
        self._answers.append(Answer(entry, outcome))

    def answers(self) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        pass


class Life:
    """One process's life in a world: recovers its partitions, then reads what is not committed."""

    def __init__(
        self,
        world: World,
        rules: Rules,
        cut: Knife | None = None,
        *,
        partitions: Sequence[int] = (0,),
        webhook: Sequence[Outcome] = (),
        lanes: Mapping[Channel, Lane] | None = None,
        written: Sequence[str] = (),
    ) -> None:
        cut = cut or Knife()
        self.world = world
        self.lanes = lanes or {Channel.LOG: Lane(), Channel.WEBHOOK: Lane()}
        self.now_s = 0.0
        self.couriers = [
            Courier(lane, FakeCarrier(channel, world, cut, webhook if channel is Channel.WEBHOOK else ()))
            for channel, lane in self.lanes.items()
        ]
        self.worker = Worker(rules, FakeJournal(world, cut), self.lanes, clock_s=lambda: self.now_s)
        for partition in partitions:
            self.worker.take(partition, world.states_of(partition), written)

    def turn(self, records: Sequence[Record] = ()) -> None:
        self.now_s += 1.0
        self.worker.handle(records)
        self.worker.settle([entry for courier in self.couriers for entry in courier.turn(self.now_s)])

    def live(self, batch: int = 3) -> None:
        """Read all, in batches, with a checkpoint after every second one; go on until all is told."""
        records = self.world.uncommitted()
        for number, start in enumerate(range(0, len(records), batch)):
            self.turn(records[start : start + batch])
            if number % 2:
                self.worker.checkpoint()
        while any(len(lane) for lane in self.lanes.values()):
            self.turn()
        self.worker.checkpoint()
