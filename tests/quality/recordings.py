"""Recordings through the stream: it must say, bit for bit, what the scorer alone says."""

import json
from collections.abc import Iterator
from pathlib import Path

from schemas import raw, topics
from services.evaluation.series import Series, read_series
from services.runtime.routes import load_routes
from services.scoring import make_device_scorer, make_sensor_scorer
from services.scoring.device import DeviceScore
from services.stream.arrival import RawRecord
from services.stream.device_types import DeviceTypes
from services.stream.pipeline import PartitionPipeline

TENANT_DEVICE = b"acme/recorded"
_NO_READINGS = frozenset({"changepoint"})


def read(path: Path) -> Series:
    """A file of NAB (`timestamp,value`) or SKAB (`datetime;...;anomaly;changepoint`), or any of that form.

    Blanks in sensors' names, which the stream would refuse, become `_`.
    """
    series = read_series(path, ignore=_NO_READINGS)
    rows = [row._replace(values={name.replace(" ", "_"): v for name, v in row.values.items()}) for row in series.rows]
    return series._replace(rows=rows)


def through_the_stream(series: Series, batch: int = 500) -> Iterator[DeviceScore]:
    """The score records of a device that sends the recording, each row numbered."""
    pipeline = PartitionPipeline(0, load_routes(None), DeviceTypes({}, []))
    records = [
        RawRecord(
            offset,
            TENANT_DEVICE,
            json.dumps({"ts": event_us, "seq": offset, "values": values}).encode(),
            {raw.MQTT_TOPIC: b"weir/v1/acme/north/recorded/telemetry", raw.RECEIVED_AT: b"%d" % event_us},
        )
        for offset, (event_us, values, _) in enumerate(series.rows)
    ]
    for start in range(0, len(records), batch):
        for output in pipeline.process(records[start : start + batch]):
            if output.topic == topics.SCORES:
                yield output.record


def rows_that_differ(series: Series) -> int:
    """Rows for which the stream and the scorer alone say something else (or the stream nothing at all)."""
    streamed = {score.event_us: score for score in through_the_stream(series)}
    is_single = len(series.rows[0].values) == 1
    sensor, device = make_sensor_scorer(), make_device_scorer()
    different = 0
    for event_us, values, _ in series.rows:
        record = streamed.get(event_us)
        if is_single:
            alone = sensor.update(event_us / 1e6, next(iter(values.values())))
            different += record is None or record.alarm_score != alone
        else:
            different += record is None or record.score != device.update(event_us / 1e6, values)
    return different
