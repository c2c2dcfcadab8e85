"""Delivers dead letters to Kafka."""

from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import Producer

from schemas import topics
from schemas.dead_letter import DeadLetter
from services.runtime.log_writer import LogWriter

_encode = msgspec.json.Encoder().encode


class KafkaGraveyard:
    """Puts dead letters on their topic, for good."""

    def __init__(self, producer: Producer, prefix: str = "") -> None:
        self._writer = LogWriter(producer, prefix)

    def deliver(self, letters: Sequence[DeadLetter], wait: Callable[[], None]) -> None:
        """Return when Kafka holds all of them; `wait` is called meanwhile, and may raise to give up.

        Raises:
            Defect: Kafka refuses a dead letter for good.
        """
        for letter in letters:
            key = (
                topics.key_of(letter.tenant, letter.device) if letter.tenant and letter.device else topics.UNPLACED_KEY
            )
            self._writer.send(topics.DEAD_LETTER, key, _encode(letter), wait)
        if letters:
            self._writer.flush(wait)
