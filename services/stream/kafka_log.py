"""`worker.Log` on confluent-kafka: what a worker sends, makes durable and commits."""

from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas import topics
from services.runtime import kafka, logging
from services.runtime.errors import Defect, Unavailable
from services.runtime.health import Health
from services.runtime.log_writer import LogWriter
from services.runtime.settings import StreamSettings
from services.stream import metrics

log = logging.get("stream")


class KafkaLog:
    """See the module. One thread."""

    def __init__(self, settings: StreamSettings, health: Health, should_stop: Callable[[], bool]) -> None:
        self.producer = kafka.producer(settings.kafka, tell_only_failures=True)
        self.consumer: Consumer | None = None
        self._prefix = settings.kafka.topic_prefix
        self._writer = LogWriter(self.producer, self._prefix)
        self._health = health
        self._should_stop = should_stop
        self._waits = False

    def send(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        """See `Log.send`."""
        self._writer.send(topic, key, value, self._wait, partition=partition)
        if self._waits:
            self._took()

    def flush(self) -> None:
        """See `Log.flush`; waits for an absent Kafka as long as the worker lives."""
        self._writer.flush(self._wait)
        if self._waits:
            self._took()

    def commit(self, offsets: Mapping[int, int]) -> bool:
        """See `Log.commit`."""
        if self.consumer is None:
            raise Defect("commit before the consumer was opened")
        raw = self._prefix + topics.RAW
        try:
            self.consumer.commit(
                offsets=[TopicPartition(raw, p, following) for p, following in offsets.items()], asynchronous=False
            )
        except KafkaException as error:
            metrics.COMMITS_REFUSED.inc()
            log.warning("commit_refused", error=str(error))
            return False
        return True

    def _took(self) -> None:
        self._waits = False
        self._health.has("kafka")

    def _wait(self) -> None:
        self._waits = True
        self._health.wait_for("kafka", "records wait to be delivered")
        self._health.tick("consumer")
        if self._should_stop():
            raise Unavailable("Kafka did not take the last records before the worker was stopped")
