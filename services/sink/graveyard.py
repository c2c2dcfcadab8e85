"""Delivers dead letters to Kafka."""

from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from schemas import topics
from schemas.dead_letter import DeadLetter
from services.runtime.errors import Defect

_encode = msgspec.json.Encoder().encode


class KafkaGraveyard:
    """Puts dead letters on their topic, for good."""

    def __init__(self, producer: Producer, prefix: str = "") -> None:
        self._producer = producer
        self._topic = prefix + topics.DEAD_LETTER

    def deliver(self, letters: Sequence[DeadLetter], wait: Callable[[], None]) -> None:
        """Return when Kafka holds all of them; `wait` is called meanwhile, and may raise to give up.

        Raises:
            Defect: Kafka refuses a dead letter for good.
        """
        waiting = len(letters)
        refused: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            nonlocal waiting
            waiting -= 1
            if error is not None:
                refused.append(error)

        for letter in letters:
            key = (
                topics.key_of(letter.tenant, letter.device) if letter.tenant and letter.device else topics.UNPLACED_KEY
            )
            while True:
                try:
                    self._producer.produce(self._topic, key=key, value=_encode(letter), on_delivery=on_delivery)
                except BufferError:
                    self._producer.poll(0.1)
                    wait()
                else:
                    break
        while waiting:
            self._producer.poll(0.1)
            if waiting:
                wait()
        if refused:
            raise Defect(f"Kafka refuses dead letters: {refused[0].str()}")
