"""A row through Weir's real core, without a server: the record of its fleet, and the evidence where nothing went wrong.

The oracle shares no code with the core, so that its agreement with all of this is the test of both.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas import influx, topics
from services.alerts import rules
from services.alerts.engine import aggregate_step, anomaly_step
from services.alerts.state import Watch
from services.runtime.routes import load_routes
from services.sink.lines import LineEncoder
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import Output, PartitionPipeline
from tests.faults import drill
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import AnomalyPoint, Evidence, RawMessage, ScorePoint
from tests.faults.drill.kafka_log import TOPICS
from tests.faults.drill.workload import TENANT, Workload

RULES = Path(drill.__file__).parent / "rules"
START_US = 1_795_420_803_000_000
WIDTHS = {"aggregates_10s": 10_000_000, "aggregates_1m": 60_000_000, "aggregates_5m": 300_000_000}
_LINE = re.compile(r"(\w+),tenant=(\w+),site=([\w-]+),device=([\w-]+)(?:,sensor=(\w+))? (\S+) (\d+)")

_encode = msgspec.json.encode


class KafkaRecord(NamedTuple):
    """A record as it stands on a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]


@dataclass
class HealthyRow:
    """A row whose fleet has stopped, looked at `now_us`: the evidence, and the same as records and lines."""

    workload: Workload
    record: FleetRecord
    evidence: Evidence
    now_us: int
    records: list[KafkaRecord] = field(default_factory=list)
    lines: dict[str, list[bytes]] = field(default_factory=dict)
    """Bucket -> lines."""


def healthy_row(
    workload: Workload,
    messages: int = 400,
    *,
    in_log=lambda device_index, log: log,
    poison: dict[int, list[bytes]] | None = None,
    start_us: int = START_US,
    after_us: int = 400_000_000,
) -> HealthyRow:
    """`messages` of each device, then the two closing ones. `in_log` may leave out, repeat or move what is on raw.

    `poison`: device index -> payloads, after its first message. Looked at `after_us` later, when all windows are shown.
    """
    record, evidence = FleetRecord(), Evidence()
    row = HealthyRow(workload, record, evidence, start_us + messages * round(1e6 / workload.per_second) + after_us)
    pipeline = PartitionPipeline(0, load_routes(None), load_device_types(None))
    published: list[Output] = []
    offset = 0
    for index in range(workload.devices):
        device = workload.device_id(index)
        skew_us = workload.clock_offset_us.get(index, 0)
        step_us = round(1e6 / workload.per_second)
        times = [start_us + seq * step_us + index * 777 for seq in range(messages + 1)]
        sent = {seq: at_us + skew_us for seq, at_us in enumerate(times)}
        sent[messages + 1] = sent[messages] + 11_000_000
        times.append(times[-1] + 1000)
        record.sent[device] = dict(sent)
        record.acknowledged[device] = dict(sent)
        log = [
            (workload.message(index, seq, ts_us), times[seq] + 5_000)
            for seq, ts_us in sent.items()
            for _ in range(workload.copies)
        ]
        for payload in (poison or {}).get(index, []):
            record.poison_sent.setdefault(device, {})[payload] = 1
            record.poison_acknowledged.setdefault(device, []).append(payload)
            log.insert(1, (payload, times[1]))
        log = in_log(index, log)
        evidence.raw[device] = [RawMessage(*one) for one in log]
        for payload, received_us in log:
            headers = {
                "mqtt-topic": workload.topic(index).encode(),
                "mqtt-dup": b"0",
                "received-at": str(received_us).encode(),
                "route": b"telemetry",
            }
            raw = RawRecord(offset, f"{TENANT}/{device}".encode(), payload, headers)
            row.records.append(KafkaRecord(topics.RAW, raw.key, payload, headers))
            published += pipeline.process([raw])
            offset += 1
    published += pipeline.idle_windows(row.now_us - 20_000_000, row.now_us)
    published += _alarms(published)
    _fill(row, published)
    return row


def _alarms(published: list[Output]) -> list[Output]:
    loaded = rules.load(RULES)
    watches: dict[tuple[str, bytes], Watch] = {}
    events = []
    for offset, (topic, key, record) in enumerate(published):
        step_of = {topics.AGGREGATES: aggregate_step, topics.ANOMALIES: anomaly_step}.get(topic)
        if step_of is not None:
            step = step_of(loaded, watches.get((topic, key), Watch()), record, offset)
            watches[topic, key] = step.watch
            events += [Output(topics.ALERT_EVENTS, key, event) for event in step.events]
    return events


def _fill(row: HealthyRow, published: list[Output]) -> None:
    evidence = row.evidence
    evidence.posts = []
    encoder = LineEncoder()
    lines_of = {topics.CLEAN: encoder.clean, topics.SCORES: encoder.score, topics.AGGREGATES: encoder.aggregate}
    for topic, key, record in published:
        name, read = TOPICS[topic]
        value = _encode(record)
        row.records.append(KafkaRecord(topic, key, value, {}))
        device = key.decode().removeprefix(f"{TENANT}/")
        getattr(evidence, name).setdefault(device, []).append(read(value))
        if topic == topics.ALERT_EVENTS:
            evidence.posts.append((record.id, value))
        if topic == topics.ANOMALIES:
            row.lines.setdefault(influx.BUCKET_LONG, []).extend(encoder.anomaly(record).lines)
            point = AnomalyPoint(float(record.phase != "closed"), record.peak, str(record.severity))
            evidence.anomaly_points[device, record.opened_us] = point
        if topic in lines_of:
            bucket, lines = lines_of[topic](record)
            row.lines.setdefault(bucket, []).extend(lines)
            for line in lines:
                _point(evidence, line.decode())


def _point(evidence: Evidence, line: str) -> None:
    measurement, _, _, device, sensor, written, at = _LINE.fullmatch(line).groups()
    fields = {name: float(value) for name, value in (field.split("=") for field in written.split(","))}
    at_ns = int(at)
    if measurement == "readings":
        evidence.readings.setdefault((device, sensor), []).append((at_ns, fields["value"]))
    elif measurement in WIDTHS:
        evidence.windows[device, sensor, WIDTHS[measurement], at_ns // 1000] = fields
    elif measurement == "scores" and sensor is None:
        point = ScorePoint(fields["score"], fields["alarm_score"])
        evidence.score_points.setdefault(device, {})[at_ns] = point
