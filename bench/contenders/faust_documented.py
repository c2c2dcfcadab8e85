"""Faust as its documentation teaches: a Record, tumbling tables with changelogs, `topic.send`; on uvloop, in memory.

A window's record is sent when the device's first message of the next one comes: `on_window_close` is called for one
partition only, and expiry is by the wall clock. The models are in memory only.
"""

import os
from datetime import timedelta
from typing import Any

import faust

from bench.contenders import device_work as work

PREFIX = os.environ["BENCH_PREFIX"]
PARTITIONS = 4


class Reading(faust.Record, serializer="json"):  # type: ignore[call-arg]  # as Faust's documentation writes it
    """One message."""

    ts: int
    seq: int
    values: dict[str, float]


app = faust.App(
    PREFIX + "faust",
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    store="memory://",
    datadir="faust-data",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    producer_compression_type="gzip",
    web_enabled=False,
)
raw = app.topic(PREFIX + "telemetry.raw", key_type=str, value_type=Reading)
clean, scores, aggregates = (
    app.topic(PREFIX + name, key_type=str, value_serializer="json", partitions=PARTITIONS)
    for name in ("telemetry.clean", "telemetry.scores", "telemetry.aggregates")
)
windows = {
    width_s: app.Table(f"w{width_s}", default=dict, partitions=PARTITIONS)
    .tumbling(width_s, expires=timedelta(days=1))
    .relative_to_stream()
    for width_s in work.WIDTHS_S
}
models: dict[str, Any] = {}
latest: dict[tuple[str, int], tuple[int, work.Window]] = {}


@app.agent(raw)
async def process(stream: Any) -> None:
    """Each message in turn."""
    async for device, reading in stream.items():
        message = {"ts": reading.ts, "seq": reading.seq, "values": reading.values}
        await clean.send(key=device, value=work.clean_record(device, message))
        model = models.get(device)
        if model is None:
            model = models[device] = work.new_model()
        await scores.send(key=device, value=work.score_record(device, message, model))
        for width_s, table in windows.items():
            width_ms = width_s * 1000
            start_ms = reading.ts - reading.ts % width_ms
            before = latest.get((device, width_s))
            if before is not None and before[0] != start_ms:
                for record in work.aggregate_records(device, before[0], width_s, before[1]):
                    await aggregates.send(key=device, value=record)
            window = work.add(dict(table[device].value()), reading.values)
            table[device] = window
            latest[device, width_s] = (start_ms, window)


if __name__ == "__main__":
    app.main()
