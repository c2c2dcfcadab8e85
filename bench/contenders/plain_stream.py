"""The floor: a confluent-kafka loop around Weir's own core. No Faust, no state topic, no checkpoints."""

import os
import signal
import time
from pathlib import Path

import msgspec

from schemas import topics
from services.runtime import kafka
from services.runtime.process import look_for_garbage_seldom
from services.runtime.routes import load_routes
from services.runtime.settings import KafkaSettings
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline


def main() -> None:
    """Consume, process, produce, commit each second."""
    settings = KafkaSettings(bootstrap=os.environ["BENCH_KAFKA"], topic_prefix=os.environ["BENCH_PREFIX"])
    types = load_device_types(Path(os.environ["BENCH_TYPES"]))
    consumer = kafka.consumer(settings, group=settings.topic_prefix + "plain")
    consumer.subscribe([settings.topic_prefix + topics.RAW])
    producer = kafka.producer(settings)
    pipelines: dict[int, PartitionPipeline] = {}
    encode = msgspec.json.Encoder().encode
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    committed = time.monotonic()
    look_for_garbage_seldom()
    while not leaving:
        batches: dict[int, list[RawRecord]] = {}
        for message in consumer.consume(1000, 0.1):
            partition, offset = message.partition() or 0, message.offset() or 0
            headers = dict(message.headers() or [])
            record = RawRecord(offset, message.key() or b"", message.value() or b"", headers)  # type: ignore[arg-type]  # the bridge's are bytes
            batches.setdefault(partition, []).append(record)
        for partition, batch in batches.items():
            if partition not in pipelines:
                pipelines[partition] = PartitionPipeline(partition, load_routes(None), types)
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
    producer.flush()
    consumer.close()


if __name__ == "__main__":
    main()
