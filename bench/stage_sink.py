"""What the sink costs: CPU for a million messages, against a plain loop that writes the same lines.

    python -m bench.stage_sink --kafka 127.0.0.1:9092 --influx http://127.0.0.1:8086 [--messages 200000]

Half of the messages are readings, half their scores, six sensors each. Prints one JSON object a contender. CPU is that
of the contender's process; what it takes to start, measured on empty topics, is told apart and left out per million.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from schemas import topics
from schemas.telemetry import Clean, ModelState, Score, SensorScore, Severity, TimeSource
from services.runtime import logging, process
from services.runtime.kafka import ensure_topics
from services.runtime.settings import KafkaSettings
from services.sink.service import run

TOPICS = (topics.CLEAN, topics.SCORES)
PARTITIONS = 4
DEVICES = 200
SENSORS = tuple(f"sensor_{n}" for n in range(6))
CONTENDERS = ("weir", "plain")
DEADLINE_S = 1800.0


def records(count: int, end_us: int) -> Iterator[tuple[str, str, bytes]]:
    """(topic, key, value): a message a second of each device in turn, and its score."""
    encode = msgspec.json.Encoder().encode
    for n in range(count):
        device, second = f"pump-{n % DEVICES}", n // DEVICES
        at_us = end_us - second * 1_000_000
        values = {s: 20.0 + i + math.sin(n / 50 + i) for i, s in enumerate(SENSORS)}
        identity = f"acme/{device}/{at_us}:{second}"
        whose: dict[str, Any] = {
            "id": identity,
            "tenant": "acme",
            "site": "berlin",
            "device": device,
            "event_us": at_us,
        }
        message = Clean(
            **whose,
            device_type="generic",
            received_us=at_us,
            time_source=TimeSource.DEVICE,
            sent_ts=at_us // 1000,
            seq=second,
            values=values,
        )
        scored = Score(
            **whose,
            seq=second,
            score=abs(math.sin(n)) / 2,
            alarm_score=0.0,
            severity=Severity.NONE,
            state=ModelState.READY,
            progress=1.0,
            sensors={s: SensorScore(abs(math.sin(n + v)), 0.0, v - 1.5, v + 1.5) for s, v in values.items()},
        )
        yield topics.CLEAN, f"acme/{device}", encode(message)
        yield topics.SCORES, f"acme/{device}", encode(scored)


def fill(bootstrap: str, prefix: str, messages: int) -> None:
    """Put the messages on topics of their own."""
    ensure_topics(KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix, partitions=PARTITIONS))
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": topics.PARTITIONER, "linger.ms": 20, "compression.type": "lz4"}
    )
    for topic, key, value in records(messages // 2, time.time_ns() // 1000):
        while True:
            try:
                producer.produce(prefix + topic, key=key, value=value)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    if producer.flush(120):
        raise SystemExit("Kafka did not take all messages")


def measure(contender: str, bootstrap: str, influx: str, prefix: str, messages: int) -> tuple[float, float]:
    """CPU and wall seconds of a contender's process, from its start to its end, once all is acknowledged."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_KAFKA")},
        "WEIR_KAFKA__BOOTSTRAP": bootstrap,
        "WEIR_KAFKA__TOPIC_PREFIX": prefix,
        "WEIR_INFLUX__URL": influx,
        "WEIR_SINK__GROUP": f"{prefix}{contender}",
        "WEIR_SINK__HTTP_PORT": "0",
    }
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "bench.stage_sink", "--child", contender], env=environment)
    watcher = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{prefix}{contender}"})
    partitions = [TopicPartition(prefix + topic, p) for topic in TOPICS for p in range(PARTITIONS)]
    try:
        while sum(max(p.offset, 0) for p in watcher.committed(partitions, timeout=30)) < messages:
            if child.poll() is not None or time.perf_counter() - began > DEADLINE_S:
                raise SystemExit(f"{contender} did not finish")
            time.sleep(0.25)
        wall_s = time.perf_counter() - began
    finally:
        watcher.close()
        child.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(child.pid, 0)
    return usage.ru_utime + usage.ru_stime, wall_s


def plain() -> None:
    """What one writes in an afternoon: confluent-kafka, json, f-strings, influxdb-client's synchronous writes."""
    leaving = False

    def leave(*_: Any) -> None:
        nonlocal leaving
        leaving = True

    signal.signal(signal.SIGTERM, leave)
    prefix = os.environ["WEIR_KAFKA__TOPIC_PREFIX"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["WEIR_KAFKA__BOOTSTRAP"],
            "group.id": os.environ["WEIR_SINK__GROUP"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([prefix + topic for topic in TOPICS])
    token = os.environ.get("WEIR_INFLUX__TOKEN", "none")
    client = InfluxDBClient(os.environ["WEIR_INFLUX__URL"], token, org=os.environ.get("WEIR_INFLUX__ORG", "weir"))
    writer = client.write_api(write_options=SYNCHRONOUS)
    while not leaving:
        lines: list[str] = []
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                record = json.loads(message.value() or b"")
                lines += _reading_lines(record) if record["type"] == "clean.v1" else _score_lines(record)
        if lines:
            writer.write("telemetry", record=lines)
            consumer.commit(asynchronous=False)
    consumer.close()
    client.close()


def _escaped(tag: str) -> str:
    return tag.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _series(measurement: str, record: dict[str, Any]) -> tuple[str, int]:
    tags = ",".join(f"{name}={_escaped(record[name])}" for name in ("tenant", "site", "device"))
    return f"{measurement},{tags}", record["event_us"] * 1000 + (record["seq"] or 0) % 1000


def _reading_lines(record: dict[str, Any]) -> list[str]:
    series, at_ns = _series("readings", record)
    return [f"{series},sensor={_escaped(s)} value={float(v)!r} {at_ns}" for s, v in record["values"].items()]


def _score_lines(record: dict[str, Any]) -> list[str]:
    series, at_ns = _series("scores", record)
    lines = [f"{series} score={record['score']!r},alarm_score={record['alarm_score']!r} {at_ns}"]
    for sensor, part in record["sensors"].items():
        fields = ",".join(f"{name}={float(value)!r}" for name, value in part.items() if value is not None)
        lines.append(f"{series},sensor={_escaped(sensor)} {fields} {at_ns}")
    return lines


def main() -> None:
    """Fill the topics once, and let each contender empty them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--influx", default="http://127.0.0.1:8086")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child == "weir":
        process.run("sink", run)
    if asked.child == "plain":
        plain()
        return
    logging.configure("bench")
    messages = asked.messages // 2 * 2
    name = uuid.uuid4().hex[:8]
    full, empty = f"bench-{name}.", f"bench-{name}-empty."
    fill(asked.kafka, full, messages)
    fill(asked.kafka, empty, 2)
    for contender in CONTENDERS:
        start_cpu_s, start_s = measure(contender, asked.kafka, asked.influx, empty, 2)
        cpu_s, wall_s = measure(contender, asked.kafka, asked.influx, full, messages)
        result = {
            "stage": "sink",
            "contender": contender,
            "messages": messages,
            "cpu_s": round(cpu_s, 3),
            "start_cpu_s": round(start_cpu_s, 3),
            "cpu_s_per_million": round((cpu_s - start_cpu_s) / messages * 1e6, 2),
            "wall_s": round(wall_s, 3),
            "start_s": round(start_s, 3),
        }
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
