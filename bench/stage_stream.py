"""CPU of the stream stage: raw -> clean, aggregates, scores. `weir` against a plain loop around the same core.

    python -m bench.stage_stream --kafka 127.0.0.1:9092 --messages 100000 --devices 1000

The raw topic is filled first; then the contender is timed until it has committed all of it. CPU seconds are those of
its process, start-up taken off (measured by a run over one message a device). The plain loop keeps no checkpoints: it
is the floor.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgspec
from confluent_kafka import TopicPartition

from schemas import topics
from services.runtime import kafka, logging
from services.runtime.routes import load_routes
from services.runtime.settings import KafkaSettings
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline

SENSORS = ("temperature", "pressure", "flow")
DEADLINE_S = 900.0
CONTENDERS = ("weir", "plain")


def fill(settings: KafkaSettings, messages: int, devices: int) -> None:
    """One message a second from each device, three readings each; the same values in every run."""
    producer = kafka.producer(settings, queue_messages=200_000)
    rng = random.Random(1)
    base_us = time.time_ns() // 1000 - messages // devices * 1_000_000
    for number in range(messages):
        device, tick = f"d{number % devices:05d}", number // devices
        at_us = base_us + tick * 1_000_000
        body = {"ts": at_us // 1000, "seq": tick, "values": {sensor: 20 + rng.gauss(0, 1) for sensor in SENSORS}}
        while True:
            try:
                producer.produce(
                    settings.topic_prefix + topics.RAW,
                    json.dumps(body),
                    f"bench/{device}",
                    headers=[
                        ("mqtt-topic", f"weir/v1/bench/lab/{device}/telemetry"),
                        ("mqtt-dup", "0"),
                        ("received-at", str(at_us + 5_000)),
                        ("route", "telemetry"),
                    ],
                )
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        raise TimeoutError("the raw topic was not filled in 120 s")


def plain() -> None:
    """Consume, process, produce, commit now and then: no agent, no state, no checkpoints."""
    settings = KafkaSettings(bootstrap=os.environ["BENCH_KAFKA"], topic_prefix=os.environ["BENCH_PREFIX"])
    consumer = kafka.consumer(settings, group=os.environ["BENCH_GROUP"])
    consumer.subscribe([settings.topic_prefix + topics.RAW])
    producer = kafka.producer(settings)
    pipelines: dict[int, PartitionPipeline] = {}
    encode = msgspec.json.Encoder().encode
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    committed = time.monotonic()
    while not leaving:
        batches: dict[int, list[RawRecord]] = {}
        for message in consumer.consume(500, 0.1):
            partition, offset = message.partition() or 0, message.offset() or 0
            headers = dict(message.headers() or [])
            record = RawRecord(offset, message.key() or b"", message.value() or b"", headers)  # type: ignore[arg-type]
            batches.setdefault(partition, []).append(record)
        for partition, batch in batches.items():
            if partition not in pipelines:
                pipelines[partition] = PartitionPipeline(partition, load_routes(None), load_device_types(None))
            for topic, key, made in pipelines[partition].process(batch):
                while True:
                    try:
                        producer.produce(settings.topic_prefix + topic, encode(made), key, partition)
                        break
                    except BufferError:
                        producer.poll(0.1)
        producer.poll(0)
        if time.monotonic() - committed > 1 and pipelines:
            producer.flush()
            consumer.commit(asynchronous=False)
            committed = time.monotonic()
    consumer.close()


def committed(settings: KafkaSettings, group: str, partitions: int) -> int:
    """Messages that the group has committed."""
    client = kafka.consumer(settings, group=group)
    name = settings.topic_prefix + topics.RAW
    places = client.committed([TopicPartition(name, p) for p in range(partitions)], timeout=30)
    client.close()
    return sum(max(0, place.offset) for place in places)


def measure(contender: str, bootstrap: str, messages: int, devices: int) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of a process that works off `messages`."""
    settings = KafkaSettings(bootstrap=bootstrap, topic_prefix=f"bench{uuid.uuid4().hex[:8]}.")
    partitions = kafka.ensure_topics(settings)
    fill(settings, messages, devices)
    group = settings.topic_prefix + "stream"
    environment = os.environ | {
        "WEIR_KAFKA__BOOTSTRAP": bootstrap,
        "WEIR_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
        "WEIR_STREAM__GROUP": group,
        "WEIR_STREAM__HTTP_PORT": "0",
        "WEIR_STREAM__DATA_DIR": "/tmp/weir-bench-faust",
    }
    command = ["-m", "services.cli", "stream"]
    if contender == "plain":
        environment = os.environ | {
            "BENCH_KAFKA": bootstrap,
            "BENCH_PREFIX": settings.topic_prefix,
            "BENCH_GROUP": group,
        }
        command = ["-m", "bench.stage_stream", "--plain"]
    begin = time.monotonic()
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=nowhere, stderr=nowhere)
    while committed(settings, group, partitions) < messages:
        if time.monotonic() - begin > DEADLINE_S or process.poll() is not None:
            raise TimeoutError(f"{contender} did not work off {messages} messages")
        time.sleep(0.5)
    wall_s = time.monotonic() - begin
    process.send_signal(signal.SIGTERM)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    kafka.admin(settings).delete_topics([settings.topic_prefix + topic.name for topic in topics.ALL])
    return usage.ru_utime + usage.ru_stime, wall_s


def run(contender: str, bootstrap: str, messages: int, devices: int) -> dict[str, object]:
    """One measurement. Start-up and the first touch of each device are taken off by a run over one message a device."""
    start_cpu_s, start_wall_s = measure(contender, bootstrap, devices, devices)
    cpu_s, wall_s = measure(contender, bootstrap, messages + devices, devices)
    return {
        "stage": "stream",
        "contender": contender,
        "messages": messages,
        "cpu_s": round(cpu_s - start_cpu_s, 3),
        "cpu_s_per_million": round((cpu_s - start_cpu_s) / messages * 1e6, 1),
        "wall_s": round(wall_s - start_wall_s, 2),
    }


def main() -> None:
    """One JSON line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", default="127.0.0.1:9092")
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    logging.configure("bench", level="WARNING")
    if told.plain:
        plain()
        return
    for contender in CONTENDERS:
        print(json.dumps(run(contender, told.kafka, told.messages, told.devices)), flush=True)


if __name__ == "__main__":
    main()
