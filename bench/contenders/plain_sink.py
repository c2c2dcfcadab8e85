"""What one writes in an afternoon: confluent-kafka, json, lines by hand, influxdb-client's synchronous writes."""

import json
import os
import signal

from confluent_kafka import Consumer
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS


def main() -> None:
    """Consume, write, commit."""
    prefix = os.environ["BENCH_PREFIX"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "group.id": prefix + "plain",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([prefix + "telemetry.clean"])
    client = InfluxDBClient(os.environ["BENCH_INFLUX"], "none", org="weir", enable_gzip=True)
    writer = client.write_api(write_options=SYNCHRONOUS)
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
    while not leaving:
        lines: list[str] = []
        for message in consumer.consume(1000, 0.2):
            record = json.loads(message.value() or b"")
            series = f"readings,tenant={record['tenant']},site={record['site']},device={record['device']}"
            at_ns = record["event_us"] * 1000 + record["seq"] % 1000
            lines += [f"{series},sensor={sensor} value={value!r} {at_ns}" for sensor, value in record["values"].items()]
        if lines:
            writer.write(os.environ["BENCH_DATABASE"], record=lines)
            consumer.commit(asynchronous=False)
    consumer.close()
    client.close()


if __name__ == "__main__":
    main()
