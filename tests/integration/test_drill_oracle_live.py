"""The oracle reads real Kafka and InfluxDB, a bit at a time, and finds there what was put there."""

import time
import urllib.request
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.faults.drill.influx_reader import InfluxReader
from tests.faults.drill.kafka_log import TOPICS, KafkaLog
from tests.faults.drill.oracle import judge
from tests.faults.drill.workload import Workload
from tests.unit.drill.healthy_row import HealthyRow, healthy_row

pytestmark = pytest.mark.slow


@pytest.fixture
def prefix(kafka: str) -> str:
    made = f"drill-{uuid.uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics([NewTopic(made + name, 4, 1) for name in TOPICS]).values():
        future.result(30)
    return made


def produce(kafka: str, prefix: str, row: HealthyRow) -> int:
    producer = Producer({"bootstrap.servers": kafka, "queue.buffering.max.messages": 500_000})
    for topic, key, value, headers in row.records:
        producer.produce(prefix + topic, value, key, headers=list(headers.items()))
    assert producer.flush(60) == 0
    return len(row.records)


def write(url: str, row: HealthyRow) -> None:
    for bucket, lines in row.lines.items():
        for begin in range(0, len(lines), 5000):
            body = b"\n".join(lines[begin : begin + 5000])
            request = urllib.request.Request(f"{url}/write?db={bucket}", body)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 204


def test_what_stands_in_kafka_and_influxdb_is_judged(kafka, influxdb, prefix):
    site = f"live-{uuid.uuid4().hex[:8]}"
    # So long ago that every window is over, at a round time so that the windows are always the same.
    start_us = (round(time.time()) // 300 * 300 - 900) * 1_000_000
    row = healthy_row(Workload(1, site, devices=4), 250, poison={1: [b"{broken"]}, start_us=start_us)
    log, influx = KafkaLog(kafka, prefix), InfluxReader(influxdb)
    assert log.read() == 0
    produced = produce(kafka, prefix, row)
    write(influxdb, row)
    assert log.read() == produced
    assert log.read() == 0
    verdict = judge(row.workload, row.record, influx, log, gaps_allowed=False, posts=row.evidence.posts)
    assert verdict.ok, verdict
    assert verdict.acknowledged == verdict.stored == 4 * 252
    assert verdict.poison_acknowledged == 1
    assert verdict.alarms >= 2
    again = Workload(1, site + "-again", devices=1)
    produced = produce(kafka, prefix, healthy_row(again, 20, start_us=start_us))
    assert log.read() == produced
    log.forget(row.workload.device_ids)
    verdict = judge(row.workload, row.record, influx, log, gaps_allowed=False)
    assert len(verdict.wrong) > 0, "what was forgotten cannot be judged"
