"""What one worker does with records, for the partitions that it owns; Kafka and the channels stand behind ports.

The order is the promise: alarm events durable, then the states that made them (with their notifications), then the
notifications go out, then that they went is recorded; and at a checkpoint all states, then the offsets.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from schemas import topics
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.telemetry import Aggregate
from services.alerts import engine, metrics, state
from services.alerts.outbox import Entry, Lane, Place
from services.alerts.rules import Channel, Rules, Source
from services.alerts.state import DeviceState, Notification, Watch
from services.runtime import logging
from services.runtime.errors import Defect

log = logging.get("alerts")

TOPICS: Mapping[Source, str] = {Source.ANOMALIES: topics.ANOMALIES, Source.AGGREGATES: topics.AGGREGATES}
_ORDER = {Source.ANOMALIES: 0, Source.AGGREGATES: 1}

IDLE_US: Final = 7 * 86_400 * 1_000_000
"""A device of which nothing was heard for so long (by event time), without an alarm, is forgotten."""
_LOOK_EVERY_US: Final = 3600 * 1_000_000
"""Event time between two searches for such devices."""


class Record(NamedTuple):
    """A record as it was read."""

    source: Source
    partition: int
    offset: int
    value: bytes


class StateWrite(NamedTuple):
    """A device's state on its way to the state topic; None: there is nothing to remember of it any more."""

    partition: int
    key: str
    value: bytes | None


class Journal(Protocol):
    """Kafka as the worker needs it: what was handed over is durable when the call returns."""

    def events(self, events: Sequence[AlarmEvent]) -> None:
        """Write alarm events."""

    def states(self, states: Sequence[StateWrite]) -> None:
        """Write device states."""

    def commit(self, positions: Mapping[tuple[Source, int], int]) -> None:
        """Commit the next offset of each source and partition. A refused commit is logged, not raised."""


class _Shard:
    """A partition that this worker owns."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.dirty: set[str] = set()
        self.positions: dict[Source, int] = {}
        self.written: frozenset[str] = frozenset()
        """Ids of events that stand on their topic, perhaps without the states that made them."""
        self.alarms = 0
        self.newest_us = 0
        """The latest event time of any device."""
        self.looked_us = 0
        """What `newest_us` was when idle devices were looked for."""


class Worker:
    """Applies records to the devices' states; see the module for the order of what it writes."""

    def __init__(
        self,
        rules: Rules,
        journal: Journal,
        lanes: Mapping[Channel, Lane],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._journal = journal
        self._lanes = lanes
        self._clock_s = clock_s
        self._shards: dict[int, _Shard] = {}
        self._complained: set[str] = set()
        self._losing: set[tuple[Channel, str]] = set()
        self._decode_anomaly = msgspec.json.Decoder(Anomaly).decode
        self._decode_aggregate = msgspec.json.Decoder(Aggregate).decode

    def take(self, partition: int, records: Iterable[tuple[str, bytes]], written: Iterable[str] = ()) -> None:
        """Own a partition: its part of the state topic, oldest first, as key and value.

        `written` are ids of events that a killed worker may have written and not recorded: they are not written again.
        """
        shard = self._shards[partition] = _Shard()
        shard.written = frozenset(written)
        for key, value in records:
            try:
                found = state.decode(value)
            except msgspec.MsgspecError as error:
                raise Defect(f"state of {key!r} cannot be read ({error}); was it written by a newer Weir?") from error
            known = shard.devices.get(key)
            best = found if known is None else state.merged(known, found)
            shard.devices[key] = best
            if best == found:
                shard.dirty.discard(key)
            else:
                # The last record is stale: once it alone is left by compaction, it must be the best one.
                shard.dirty.add(key)
        shard.alarms = sum(_active(device) for device in shard.devices.values())
        shard.newest_us = max(map(_clock_us, shard.devices.values()), default=0)
        batch = _Batch()
        for key, device in list(shard.devices.items()):
            for source, watch in ((Source.ANOMALIES, device.anomalies), (Source.AGGREGATES, device.aggregates)):
                place = Place(partition, key, source)
                for notification in watch.outbox:
                    batch.notifications.append(Entry(place, notification, self._clock_s()))
                step = engine.retire(self._rules, source, watch)
                if step.watch != watch:
                    self._accept(shard, place, step, batch)
        self._write(batch)

    def drop(self, partitions: Iterable[int]) -> None:
        """Own these no longer."""
        for partition in partitions:
            self._shards.pop(partition, None)
            for lane in self._lanes.values():
                lane.forget(partition)
        self._measure()

    @property
    def partitions(self) -> frozenset[int]:
        """What the worker owns."""
        return frozenset(self._shards)

    def applied(self, partition: int, source: Source) -> int:
        """The highest offset that a state of the partition has applied, -1 if none."""
        watches = (_watch(device, source) for device in self._shards[partition].devices.values())
        return max((watch.applied for watch in watches), default=-1)

    def handle(self, records: Iterable[Record]) -> None:
        """Apply records; alarms are durable, and on their way to people, when this returns.

        Anomalies go first: a window that shows that time has passed must not overtake the end of an anomaly.
        """
        batch = _Batch()
        for record in sorted(records, key=lambda r: _ORDER[r.source]):
            shard = self._shards.get(record.partition)
            if shard is not None:
                shard.positions[record.source] = record.offset + 1
                self._apply(shard, record, batch)
        self._write(batch)
        batch.measure()

    def settle(self, entries: Iterable[Entry]) -> None:
        """Record that these notifications are out of the way, so that a restart does not send them again."""
        touched: dict[Place, None] = {}
        for entry in entries:
            self._remove(entry)
            touched[entry.place] = None
        self._write_states(touched)

    def checkpoint(self) -> None:
        """Make everything up to here durable, then commit it."""
        dirty = [
            Place(partition, key, Source.ANOMALIES) for partition, shard in self._shards.items() for key in shard.dirty
        ]
        self._write_states(dirty)
        positions = {
            (source, partition): offset
            for partition, shard in self._shards.items()
            for source, offset in shard.positions.items()
        }
        if positions:
            self._journal.commit(positions)
            metrics.CHECKPOINTS.inc()
        for shard in self._shards.values():
            shard.positions.clear()
        self._forget_idle()
        self._measure()

    def _forget_idle(self) -> None:
        """Let go of devices that fell silent; after the commit, so that no record of theirs is read again."""
        gone = []
        for partition, shard in self._shards.items():
            if shard.newest_us < shard.looked_us + _LOOK_EVERY_US:
                continue
            shard.looked_us = shard.newest_us
            idle = [key for key, device in shard.devices.items() if _is_idle(device, shard.newest_us - IDLE_US)]
            for key in idle:
                del shard.devices[key]
                shard.dirty.discard(key)
            gone += [StateWrite(partition, key, None) for key in idle]
        if gone:
            self._journal.states(gone)

    def _apply(self, shard: _Shard, record: Record, batch: "_Batch") -> None:
        batch.count(record.source)
        try:
            if record.source is Source.ANOMALIES:
                anomaly = self._decode_anomaly(record.value)
                place = Place(record.partition, topics.key_of(anomaly.tenant, anomaly.device), Source.ANOMALIES)
                watch = shard.devices.get(place.key, _NEW).anomalies
                self._accept(shard, place, engine.anomaly_step(self._rules, watch, anomaly, record.offset), batch)
                return
            window = self._decode_aggregate(record.value)
        except msgspec.MsgspecError as error:
            if not batch.ignored.get((record.source, "undecodable")):
                log.warning("record_undecodable", source=record.source, offset=record.offset, error=str(error))
            batch.ignore(record.source, "undecodable")
            return
        place = Place(record.partition, topics.key_of(window.tenant, window.device), Source.AGGREGATES)
        device = shard.devices.get(place.key, _NEW)
        self._accept(shard, place, engine.aggregate_step(self._rules, device.aggregates, window, record.offset), batch)
        if device.anomalies.rules and not window.provisional:
            step = engine.tick(self._rules, device.anomalies, window.start_us + window.width_us)
            self._accept(shard, place._replace(source=Source.ANOMALIES), step, batch)

    def _accept(self, shard: _Shard, place: Place, step: engine.Step, batch: "_Batch") -> None:
        if step.ignored:
            batch.ignore(place.source, step.ignored)
        for rule, why in step.failed:
            batch.rule_errors += 1
            if rule not in self._complained:
                log.warning("rule_has_no_value", rule=rule, why=why)
                self._complained.add(rule)
        device = shard.devices.get(place.key, _NEW)
        watch = step.watch
        if step.events:
            read_s = self._clock_s()
            made = [n for event in step.events for n in self._notifications(event)]
            watch = msgspec.structs.replace(watch, outbox=(*watch.outbox, *made))
            batch.events += [event for event in step.events if event.id not in shard.written]
            batch.notifications += [Entry(place, notification, read_s) for notification in made]
            batch.touched[place] = None
            shard.alarms += sum(1 if event.phase == "raised" else -1 for event in step.events)
        shard.newest_us = max(shard.newest_us, watch.clock_us)
        if watch is not _watch(device, place.source):
            shard.devices[place.key] = _with(device, place.source, watch)
            shard.dirty.add(place.key)

    def _notifications(self, event: AlarmEvent) -> list[Notification]:
        rule = self._rules.by_name.get(event.rule)
        wanted = rule.channels if rule is not None else frozenset(Channel)
        return [Notification(channel, event) for channel in self._lanes if channel in wanted]

    def _write(self, batch: "_Batch") -> None:
        if batch.events:
            self._journal.events(batch.events)
        self._write_states(batch.touched)
        self._queue(batch.notifications)
        self._measure()

    def _queue(self, entries: Iterable[Entry]) -> None:
        """Into their lanes; that some get lost by that is said once, until one goes in without a loss."""
        dropped: dict[tuple[Channel, str], list[Entry]] = {}
        for entry in entries:
            channel = entry.notification.channel
            lane = self._lanes.get(channel)
            if lane is None:
                dropped.setdefault((channel, "not_configured"), []).append(entry)
            elif gone := lane.add(entry):
                dropped.setdefault((channel, "full"), []).extend(gone)
            else:
                self._losing.discard((channel, "full"))
        for (channel, reason), lost in dropped.items():
            metrics.DROPPED.labels(reason).inc(len(lost))
            if (channel, reason) not in self._losing:
                log.error("notifications_dropped", channel=channel, reason=reason, first_event_id=lost[0].id)
                self._losing.add((channel, reason))
            for entry in lost:
                self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        partition, key, source = entry.place
        shard = self._shards.get(partition)
        if shard is None or key not in shard.devices:
            return
        device = shard.devices[key]
        watch = _watch(device, source)
        kept = tuple(n for n in watch.outbox if n != entry.notification)
        shard.devices[key] = _with(device, source, msgspec.structs.replace(watch, outbox=kept))
        shard.dirty.add(key)

    def _write_states(self, places: Iterable[Place]) -> None:
        keys = {(place.partition, place.key): None for place in places if place.partition in self._shards}
        if not keys:
            return
        self._journal.states(
            [StateWrite(partition, key, state.encode(self._shards[partition].devices[key])) for partition, key in keys]
        )
        for partition, key in keys:
            self._shards[partition].dirty.discard(key)

    def _measure(self) -> None:
        metrics.PENDING.set(sum(len(lane) for lane in self._lanes.values()))
        metrics.ACTIVE.set(sum(shard.alarms for shard in self._shards.values()))
        metrics.DEVICES.set(sum(len(shard.devices) for shard in self._shards.values()))


_NEW = DeviceState()


class _Batch:
    """What a batch of records made, until it is written; and its counts."""

    def __init__(self) -> None:
        self.events: list[AlarmEvent] = []
        self.notifications: list[Entry] = []
        self.touched: dict[Place, None] = {}
        self.ignored: dict[tuple[Source, str], int] = {}
        self.rule_errors = 0
        self._read: dict[Source, int] = {}

    def count(self, source: Source) -> None:
        """One record was read."""
        self._read[source] = self._read.get(source, 0) + 1

    def ignore(self, source: Source, reason: str) -> None:
        """One record has no effect."""
        self.ignored[source, reason] = self.ignored.get((source, reason), 0) + 1

    def measure(self) -> None:
        """Add the counts to the metrics."""
        for source, count in self._read.items():
            metrics.RECORDS.labels(TOPICS[source]).inc(count)
        for (source, reason), count in self.ignored.items():
            metrics.IGNORED.labels(TOPICS[source], reason).inc(count)
        for event in self.events:
            metrics.EVENTS.labels(event.phase).inc()
        metrics.RULE_ERRORS.inc(self.rule_errors)


def _active(device: DeviceState) -> int:
    watches = (device.anomalies, device.aggregates)
    return sum(state.alarm is not None for watch in watches for state in watch.rules.values())


def _clock_us(device: DeviceState) -> int:
    return max(device.anomalies.clock_us, device.aggregates.clock_us)


def _is_idle(device: DeviceState, before_us: int) -> bool:
    """Whether no alarm stands, nothing is to be sent, and nothing was heard since `before_us`."""
    to_send = device.anomalies.outbox or device.aggregates.outbox
    return _clock_us(device) < before_us and not to_send and not _active(device)


def _watch(device: DeviceState, source: Source) -> Watch:
    return device.anomalies if source is Source.ANOMALIES else device.aggregates


def _with(device: DeviceState, source: Source, watch: Watch) -> DeviceState:
    if source is Source.ANOMALIES:
        return msgspec.structs.replace(device, anomalies=watch)
    return msgspec.structs.replace(device, aggregates=watch)
