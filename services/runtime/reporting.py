"""A service's own metrics as records on `weir-metrics`, from where the sink writes them to InfluxDB."""

import os
import socket
from collections.abc import Iterable

import msgspec
from confluent_kafka import Producer
from prometheus_client import REGISTRY, Gauge, Metric

from schemas import topics
from schemas.metrics import MetricPoint, ServiceMetrics

QUEUED = Gauge(
    "weir_producer_queued_records",
    "Records handed to Kafka's producer and not yet durable. Stuck high: Kafka is slow or away; the service stops"
    " reading at the queue's limit.",
)

_encode = msgspec.json.Encoder().encode
_PREFIX = "weir_"


def points_of(collected: Iterable[Metric]) -> list[MetricPoint]:
    """Weir's own samples (not the process's or Python's), grouped by the tags `topic` and `reason`.

    A field is the metric's name without `weir_`; buckets of histograms are left out.
    """
    fields: dict[tuple[str, str], dict[str, float]] = {}
    for metric in collected:
        if not metric.name.startswith(_PREFIX):
            continue
        for sample in metric.samples:
            if sample.name.endswith(("_bucket", "_created")):
                continue
            tags = (sample.labels.get("topic", ""), sample.labels.get("reason", ""))
            group = fields.setdefault(tags, {})
            name = sample.name.removeprefix(_PREFIX)
            group[name] = group.get(name, 0.0) + sample.value
    return [MetricPoint(topic=t, reason=r, fields=f) for (t, r), f in sorted(fields.items())]


class Reporter:
    """Sends one `ServiceMetrics` each `interval_s` seconds, when its `report` is called at least that often.

    `name` tells this process from others of its service; "" stands for the host's name.
    """

    def __init__(
        self, producer: Producer, service: str, *, name: str = "", prefix: str = "", interval_s: float = 5.0
    ) -> None:
        self._producer = producer
        self._service = service
        self._name = name or socket.gethostname()
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._topic = prefix + topics.METRICS
        self._interval_us = round(interval_s * 1e6)
        self._next_us = 0

    def report(self, now_us: int) -> None:
        """Send if it is time. A full producer queue skips this report: metrics never hold up the data."""
        if now_us < self._next_us:
            return
        self._next_us = now_us + self._interval_us
        QUEUED.set(len(self._producer))
        record = ServiceMetrics(
            id=f"{self._service}:{self._instance}:{now_us}",
            service=self._service,
            instance=self._instance,
            at_us=now_us,
            points=points_of(REGISTRY.collect()),
            name=self._name,
        )
        try:
            self._producer.produce(self._topic, key=self._service, value=_encode(record))
        except BufferError:
            return
