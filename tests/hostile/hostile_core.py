"""Everything from a PUBLISH to InfluxDB's lines and alarms in one process, which checks each promise as it goes.

The real classes with plain data between them, in the order of the services: bridge (routes, envelope), stream
(pipelines), sink (readers, lines), alerts (worker). After each message: it ended as readings, as dead letters, or as a
repeat; the ledgers add up; every record is JSON that reads back to the same record; every line parses back.
"""

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from schemas import influx, mqtt, topics
from schemas.catalogue import FLOWS
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason
from schemas.telemetry import Clean, Status
from services.alerts import rules
from services.alerts.outbox import lanes
from services.alerts.rules import Channel, Source
from services.alerts.worker import Record as AlertRecord
from services.alerts.worker import StateWrite, Worker
from services.bridge.envelope import Envelope
from services.bridge.packets import Message
from services.runtime.routes import load_routes
from services.sink.readers import readers
from services.stream import recovery
from services.stream.arrival import RawRecord
from services.stream.device_table import NOTHING_STORED
from services.stream.device_types import DeviceType, DeviceTypes, SensorType
from services.stream.pipeline import Budgets, Output, PartitionPipeline
from tests.unit.sink.line_protocol import Point, parse

KINDS: Final = {flow.topic: flow.records[0] for flow in FLOWS if flow.records}
SOURCES: Final = {topics.ANOMALIES: Source.ANOMALIES, topics.AGGREGATES: Source.AGGREGATES}
RULES: Final = """
rules:
  - {name: any, source: anomalies, when: 'severity in ["notice", "warning", "critical"]', severity: {from: severity}}
  - {name: long, source: anomalies, when: score > 0.6, for: 1m}
  - {name: high, source: aggregates, window: 10s, when: mean > 50.0, clear: mean < 40.0, for: 20s, severity: critical}
  - {name: odd, source: aggregates, window: 1m, when: 'max / mean > 3.0 && count > 1 && sensor.contains("e")'}
"""
PUMP: Final = DeviceType(
    name="pump",
    sensors={
        "temperature": SensorType(low=-40, high=150, max_rate_per_s=5),
        "flow": SensorType(boolean=True),
        "a": SensorType(low=0),
    },
    accept_late=False,
)
ENVELOPE: Final = Envelope(load_routes(None), max_payload_bytes=256 * 1024)
_DECODERS: Final = {topic: msgspec.json.Decoder(kind).decode for topic, kind in KINDS.items()}
_encode = msgspec.json.Encoder().encode


class Ended(NamedTuple):
    """What became of one message: how, with which dead-letter reasons (of it or of readings), and what was put out."""

    how: str
    reasons: tuple[Reason, ...] = ()
    outputs: tuple[Output, ...] = ()


class _Journal:
    """Kafka for the alerts: only the order is looked at, and that what is written can be read."""

    def __init__(self) -> None:
        self.raised: set[str] = set()
        self.events_written = 0

    def events(self, events: Sequence[Any]) -> None:
        for event in events:
            who = f"{event.rule}:{event.tenant}/{event.device}"
            assert (who in self.raised) is (event.phase == "cleared"), f"two alarms, or none to clear: {event.id}"
            self.raised.symmetric_difference_update({who})
            assert msgspec.json.decode(_encode(event), type=type(event)) == event
        self.events_written += len(events)

    def states(self, states: Sequence[StateWrite]) -> None:
        for write in states:
            if write.value is not None:
                json.loads(write.value)

    def commit(self, positions: Mapping[Any, int]) -> None:
        assert all(offset > 0 for offset in positions.values())


class Core:
    """One core; `publish` what comes by MQTT, `append` what somebody wrote to telemetry.raw."""

    def __init__(self, *, partitions: int = 2, budgets: Budgets | None = None, check: bool = True) -> None:
        self._budgets = budgets or Budgets(devices_per_tenant=200, sensors_per_device=64, devices_per_partition=400)
        self._types = DeviceTypes({PUMP.name: PUMP}, [("*/pump-[0-3]", PUMP.name)])
        self._routes = load_routes(None)
        self.check = check
        self.pipelines = [self._pipeline(partition) for partition in range(partitions)]
        self._offsets = [0] * partitions
        self._stored: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self._readers = readers()
        self._read_status = msgspec.json.Decoder(Status).decode
        self.journal = _Journal()
        self._lanes = lanes(frozenset({Channel.LOG}))
        self.alerts = Worker(rules.parse(RULES), self.journal, self._lanes, clock_s=lambda: 0.0)
        self._read = Counter[tuple[Source, int]]()
        for partition in range(partitions):
            self.alerts.take(partition, [])
        self.series: set[tuple[Any, ...]] = set()
        self.lines = 0
        self.ended = Counter[str]()

    def _pipeline(self, partition: int, restored: Any = NOTHING_STORED) -> PartitionPipeline:
        return PartitionPipeline(partition, self._routes, self._types, self._budgets, restored)

    def publish(self, message: Message, received_us: int) -> Ended:
        """A PUBLISH comes to the bridge."""
        sealed = ENVELOPE.seal(message, received_us)
        if sealed is None:
            assert message.retain
            return self._count(Ended("retained"))
        if sealed.topic == topics.STATUS:
            status = self._read_status(sealed.value)
            assert mqtt.ID.fullmatch(status.device)
            assert len(status.text) <= 1024
            return self._count(Ended("status"))
        headers = {name: value.encode() if isinstance(value, str) else value for name, value in sealed.headers}
        assert sum(len(name) + len(value or b"") for name, value in headers.items()) < 8192
        return self.append(RawRecord(0, sealed.key, sealed.value, headers))

    def append(self, record: RawRecord) -> Ended:
        """A record comes on telemetry.raw; it gets the next offset of its key's partition."""
        partition = zlib.crc32(record.key) % len(self.pipelines)
        record = record._replace(offset=self._offsets[partition])
        self._offsets[partition] += 1
        pipeline = self.pipelines[partition]
        totals = pipeline.totals
        before = (totals.decoded, totals.redelivered, sum(totals.dead_messages.values()))
        outputs = pipeline.process([record])
        after = (totals.decoded, totals.redelivered, sum(totals.dead_messages.values()))
        steps = [now - then for now, then in zip(after, before, strict=True)]
        assert sorted(steps) == [0, 0, 1], f"a message ends in one way: {steps}"
        assert (totals.missing_messages, totals.missing_readings) == (0, 0), "the ledgers add up"
        if self.check:
            for output in outputs:
                self._check(output)
        self._to_alerts(partition, outputs)
        reasons = tuple(o.record.reason for o in outputs if isinstance(o.record, DeadLetter))
        assert all(isinstance(reason, Reason) for reason in reasons)
        assert bool(steps[2]) <= bool(reasons), "a dead message has its letter"
        return self._count(Ended(("decoded", "repeat", "dead")[steps.index(1)], reasons, tuple(outputs)))

    def restart(self) -> None:
        """Checkpoint, and read the state back as a new owner of the partitions would."""
        for partition, pipeline in enumerate(self.pipelines):
            stored = self._stored[partition]
            stored.update((change.key, change.value) for change in pipeline.take_changes())
            for key in pipeline.take_expired():
                stored.pop(key, None)
            restored = recovery.merge(stored.items())[0]
            self.pipelines[partition] = self._pipeline(partition, restored)
            assert self.pipelines[partition].totals == pipeline.totals, "the counts outlive the worker"
        self.alerts.checkpoint()

    def _count(self, ended: Ended) -> Ended:
        self.ended[ended.how] += 1
        for reason in set(ended.reasons):
            self.ended[f"{'message' if ended.how == 'dead' else 'reading'}: {reason}"] += 1
        return ended

    def _check(self, output: Output) -> None:
        encoded = _encode(output.record)
        read = _DECODERS[output.topic](encoded)
        assert _encode(read) == encoded, "what is read back is what was written"
        assert len(encoded) < 2 * 1024 * 1024, "Kafka takes it"
        if output.topic in self._readers:
            bucket, lines = self._readers[output.topic](encoded)
            assert bucket in (influx.BUCKET, influx.BUCKET_LONG)
            points = [parse(line) for line in lines]
            for point in points:
                self._check_point(point, ours=output.topic == topics.LEDGERS)
            if isinstance(output.record, Clean):
                values = {point.tags["sensor"]: point.fields["value"] for point in points}
                assert values == output.record.values

    def _check_point(self, point: Point, *, ours: bool) -> None:
        """Only ledgers know a device that no client can name: `$`, where the refused are counted."""
        assert point.tags.keys() <= {"tenant", "site", "device", "sensor"} | ({"reason"} if ours else set())
        assert all(mqtt.SENSOR.fullmatch(v) or (ours and v.startswith("$")) for v in point.tags.values())
        assert all(isinstance(value, str) or math.isfinite(value) for value in point.fields.values())
        assert 0 <= point.time < 2**63
        self.series.add((point.measurement, *point.tags.values()))
        self.lines += 1

    def _to_alerts(self, partition: int, outputs: Iterable[Output]) -> None:
        records = []
        for output in outputs:
            source = SOURCES.get(output.topic)
            if source is not None:
                records.append(AlertRecord(source, partition, self._read[source, partition], _encode(output.record)))
                self._read[source, partition] += 1
        if records:
            self.alerts.handle(records)
            for lane in self._lanes.values():
                while (entry := lane.next()) is not None:
                    lane.done(entry)
                    self.alerts.settle([entry])
