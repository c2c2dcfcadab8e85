"""What others see of the sink while it runs: health, lag, and its metrics on their way to Kafka."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer

from services.runtime import logging
from services.runtime.clock import now_us
from services.runtime.health import ASK_AGAIN_S, Answers, Health
from services.runtime.reporting import Reporter
from services.sink import metrics
from services.sink.source import KafkaSource

log = logging.get("sink")

LOOP = "sink"
_LAG_EVERY_S = 5.0
_NOTHING_ASSIGNED = "no partition is assigned to this sink"


class VitalSigns:
    """`beat` is called by the loop, often; each thing is done when its time has come."""

    def __init__(
        self,
        source: KafkaSource,
        health: Health,
        reporter: Reporter,
        producer: Producer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._health = health
        self._reporter = reporter
        self._producer = producer
        self._clock = clock
        self._lag_at = clock()
        self._kafka = Answers(health, "kafka", logging.Outage(log, "kafka_unavailable", "kafka_back"))
        health.wait_for("kafka", _NOTHING_ASSIGNED)

    def beat(self) -> None:
        """Show that the loop turns."""
        self._health.tick(LOOP)
        self._producer.poll(0)
        if self._clock() >= self._lag_at:
            self._lag_at = self._clock() + _LAG_EVERY_S
            self._measure_lag()
        self._reporter.report(now_us())

    def _measure_lag(self) -> None:
        if not self._source.assigned():
            metrics.LAG.clear()
            self._health.wait_for("kafka", _NOTHING_ASSIGNED)
            return
        try:
            lag = self._source.lag()
        except KafkaException as error:
            self._kafka.failed(error.args[0].str())
            self._lag_at = self._clock() + ASK_AGAIN_S
            return
        self._kafka.came()
        metrics.LAG.clear()
        for topic, messages in lag.items():
            metrics.LAG.labels(topic=topic).set(messages)
