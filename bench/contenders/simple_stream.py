"""The rivals' work with no framework: confluent-kafka, orjson, dicts in memory. What is over it is the rival's."""

import os
import signal
import time
from typing import Any

import device_work as work
import orjson
from confluent_kafka import Consumer, Producer


def main() -> None:
    """Consume, do it, produce, commit each second."""
    prefix = os.environ["BENCH_PREFIX"]
    address = {"bootstrap.servers": os.environ["BENCH_KAFKA"]}
    consumer = Consumer(
        address | {"group.id": prefix + "simple", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    producer = Producer(
        address
        | {
            "linger.ms": 5,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([prefix + "telemetry.raw"])
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    models: dict[str, Any] = {}
    windows: dict[tuple[str, int], dict[int, work.Window]] = {}

    def send(topic: str, key: str, record: dict[str, Any]) -> None:
        while True:
            try:
                producer.produce(prefix + topic, orjson.dumps(record), key)
            except BufferError:
                producer.poll(0.1)
            else:
                return

    committed = time.monotonic()
    while not leaving:
        for record in consumer.consume(1000, 0.1):
            device = (record.key() or b"").decode()
            message = orjson.loads(record.value() or b"")
            send("telemetry.clean", device, work.clean_record(device, message))
            model = models.get(device)
            if model is None:
                model = models[device] = work.new_model()
            send("telemetry.scores", device, work.score_record(device, message, model))
            at_ms = message["ts"]
            for width_s in work.WIDTHS_S:
                width_ms = width_s * 1000
                open_windows = windows.setdefault((device, width_s), {})
                start_ms = at_ms - at_ms % width_ms
                work.add(open_windows.setdefault(start_ms, {}), message["values"])
                due_ms = at_ms - work.LATENESS_S * 1000 - width_ms
                for start in [start for start in open_windows if start <= due_ms]:
                    for made in work.aggregate_records(device, start, width_s, open_windows.pop(start)):
                        send("telemetry.aggregates", device, made)
        producer.poll(0)
        if time.monotonic() - committed > 1 and models:
            producer.flush()
            consumer.commit(asynchronous=False)
            committed = time.monotonic()
    producer.flush()
    consumer.close()


if __name__ == "__main__":
    main()
