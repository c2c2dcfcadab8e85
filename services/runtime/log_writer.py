"""Records into Kafka for good: when `flush` returns, what was sent is durable; else it raises."""

from collections.abc import Callable

from confluent_kafka import KafkaError, Message, Producer

from services.runtime import logging
from services.runtime.errors import Defect

log = logging.get("kafka")

Waiting = Callable[[], None]
"""Called again and again while Kafka takes nothing: shows life, and may raise to give up."""


class LogWriter:
    """Writes with `producer`, to topics that begin with `prefix`. One thread; others may use the producer as well."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer = producer
        self._produce = producer.produce
        self._delivered = self._on_delivery
        self._prefix = prefix
        self._refused: str | None = None
        self._kafka = logging.Outage(log, "kafka_unavailable", "kafka_back")

    def send(
        self, topic: str, key: str | bytes, value: bytes | None, waiting: Waiting, *, partition: int | None = None
    ) -> None:
        """Hand over a record; it may still be lost until `flush` returns. Without `partition`, the key places it.

        Waits where the queue is full.

        Raises:
            Defect: Kafka refused an earlier record for good.
        """
        while True:
            try:
                self._produce(self._prefix + topic, value, key, -1 if partition is None else partition, self._delivered)
            except BufferError:
                self._producer.poll(0.1)
                self._raise_refused()
                waiting()
            else:
                return

    def flush(self, waiting: Waiting) -> None:
        """Return when all that was sent is durable; waits for an absent Kafka for as long as `waiting` lets it.

        Raises:
            Defect: Kafka refused a record for good.
        """
        while self._producer.flush(1.0):
            self._raise_refused()
            self._kafka.failed()
            waiting()
        self._raise_refused()
        self._kafka.worked()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused = f"{message.topic()}: {error.str()}"

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise Defect(f"Kafka refused a record for good: {self._refused}")
