"""Weir's topics, read once and remembered: each call goes on from where the last one ended."""


class KafkaLog:
    """What the drill's tenant has on the topics."""

    def __init__(self, bootstrap: str, topic_prefix: str = "") -> None:
        """Nothing is read before `read`."""
        raise NotImplementedError

    def read(self, deadline_s: float = 60.0) -> int:
        """Catch up with the end of every topic; returns how many records were new.

        With a new client each time: an old one may refuse for minutes after Kafka was killed. Raises `TimeoutError`.
        """
        raise NotImplementedError

    def forget(self, device_ids: list[str]) -> None:
        """Drop what is remembered of these devices: their row is judged for good."""
