"""influxdb-client's batching writer, as its documentation teaches: a Point a reading, batches of 5,000, gzip.

It can't say when a batch is durable, so offsets are committed by Kafka's client each 5 s: a crash loses what waits.
"""

import json
import os
import signal

from confluent_kafka import Consumer
from influxdb_client import InfluxDBClient, Point, WriteOptions


def main() -> None:
    """Consume and write until SIGTERM."""
    prefix = os.environ["BENCH_PREFIX"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "group.id": prefix + "influxdb_client",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([prefix + "telemetry.clean"])
    client = InfluxDBClient(os.environ["BENCH_INFLUX"], "none", org="weir", enable_gzip=True)
    writer = client.write_api(write_options=WriteOptions(batch_size=5_000, flush_interval=1_000))
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    while not leaving:
        points = []
        for message in consumer.consume(1000, 0.2):
            record = json.loads(message.value() or b"")
            points += [
                Point("readings")
                .tag("tenant", record["tenant"])
                .tag("site", record["site"])
                .tag("device", record["device"])
                .tag("sensor", sensor)
                .field("value", value)
                .time(record["event_us"] * 1000 + record["seq"] % 1000)
                for sensor, value in record["values"].items()
            ]
        if points:
            writer.write(os.environ["BENCH_DATABASE"], record=points)
    writer.close()
    consumer.close()
    client.close()


if __name__ == "__main__":
    main()
