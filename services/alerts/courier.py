"""Carries one channel's notifications: a few at once, with growing waits while the channel is away. Never blocks."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from services.alerts import metrics
from services.alerts.outbox import Entry, Lane
from services.alerts.rules import Channel
from services.runtime import logging
from services.runtime.backoff import Backoff

log = logging.get("alerts")


class Outcome(StrEnum):
    """How one attempt ended."""

    SENT = "sent"
    REFUSED = "refused"
    """The receiver will never take this one."""
    AWAY = "away"
    """Nothing is wrong with it: again later."""


class Answer(NamedTuple):
    """What became of an attempt. `detail` is for a person and holds no secret; `retry_after_s`: as asked for."""

    entry: Entry
    outcome: Outcome
    detail: str = ""
    retry_after_s: float | None = None


class Carrier(Protocol):
    """A channel: log, webhook or MQTT. Called by the service's loop only."""

    channel: Channel
    parallel: int
    """Most notifications in flight."""

    def send(self, entry: Entry) -> None:
        """Begin to send, under the event's id as idempotency key. Never blocks, never raises on what is outside."""

    def answers(self) -> list[Answer]:
        """What has become of those that were begun; each is answered once."""

    def close(self) -> None:
        """Let go of connections and threads."""


class Courier:
    """One lane and its carrier. `turn` is called often, by the service's loop."""

    def __init__(self, lane: Lane, carrier: Carrier) -> None:
        self._lane = lane
        self._carrier = carrier
        self._backoff = Backoff()
        self._ready_s = 0.0
        self._is_away = False

    @property
    def in_flight(self) -> int:
        """How many are being sent."""
        return self._lane.in_flight

    def turn(self, now_s: float) -> list[Entry]:
        """Take the answers in and send what may go; returns those that are out of the way: to be recorded."""
        settled = self.collect(now_s)
        while self._send(now_s):
            settled += self.collect(now_s)
        metrics.IN_FLIGHT.labels(self._carrier.channel).set(self._lane.in_flight)
        return settled

    def collect(self, now_s: float) -> list[Entry]:
        """Take the answers in; send nothing."""
        return [answer.entry for answer in self._carrier.answers() if self._is_settled(answer, now_s)]

    def _send(self, now_s: float) -> bool:
        """Send what may go; whether there was any."""
        sent = False
        while now_s >= self._ready_s and self._lane.in_flight < self._carrier.parallel:
            entry = self._lane.next()
            if entry is None:
                break
            self._carrier.send(entry)
            sent = True
        return sent

    def _is_settled(self, answer: Answer, now_s: float) -> bool:
        channel = self._carrier.channel
        if answer.outcome is Outcome.AWAY:
            self._lane.failed(answer.entry)
            self._ready_s = now_s + self._backoff.next_s(answer.retry_after_s)
            metrics.FAILURES.labels(channel).inc()
            if not self._is_away:
                log.warning("channel_away", channel=channel, detail=answer.detail)
                self._is_away = True
            return False
        if not self._lane.done(answer.entry):
            return False
        self._backoff.reset()
        self._ready_s = 0.0
        if self._is_away:
            log.info("channel_back", channel=channel)
            self._is_away = False
        if answer.outcome is Outcome.REFUSED:
            metrics.DROPPED.labels(Outcome.REFUSED).inc()
            log.error("notification_refused", channel=channel, event_id=answer.entry.id, detail=answer.detail)
        else:
            metrics.SENT.labels(channel).inc()
            metrics.LATENESS.observe(now_s - answer.entry.read_s)
        return True
