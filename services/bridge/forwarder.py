"""The bridge's core: every message becomes a record, and is acknowledged when that record is durable.

It stands between two ports, Kafka's producer and the MQTT connection, and is driven by one thread. A message is in one
of three places until its record is durable: in flight (with the producer), parked (the producer is full) or refused
(Kafka took the record and reported an error; it is tried again). The receive maximum bounds all three together.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from services.bridge.envelope import Envelope, Headers, Record
from services.bridge.packets import Message
from services.bridge.unacknowledged import Entry, Unacknowledged
from services.runtime.errors import Defect


class Failure(Protocol):
    """Why a record did not become durable."""

    def fatal(self) -> bool:
        """Whether no later record can become durable either."""


Report = Callable[[Failure | None, object], None]


class Log(Protocol):
    """Kafka's producer."""

    def produce(self, topic: str, *, key: bytes, value: bytes, headers: Headers, on_delivery: Report) -> None:
        """Take a record; `on_delivery` gets None once it is durable, and is called from the producer's `poll` only.

        Raises:
            BufferError: It can take no more for now.
        """


class Counts:
    """What happened so far, as plain numbers: the metrics are made of them once a second."""

    def __init__(self) -> None:
        self.received = 0
        self.received_bytes = 0
        self.redelivered = 0
        self.retained = 0
        self.dropped_qos0 = 0
        self.durable = 0
        self.refused = 0
        self.acknowledged = 0
        self.forgotten = 0


class Forwarder:
    """See the module.

    `acknowledge` sends PUBACKs for packet ids, in order. `most_parked` bounds messages of QoS 0, which nobody holds
    back while Kafka is away: beyond it they are dropped, as QoS 0 allows, and counted.
    """

    def __init__(
        self, envelope: Envelope, log: Log, acknowledge: Callable[[list[int]], None], *, most_parked: int
    ) -> None:
        self.counts = Counts()
        self.in_flight = 0
        self._envelope = envelope
        self._log = log
        self._acknowledge = acknowledge
        self._most_parked = most_parked
        self._unacknowledged = Unacknowledged()
        self._parked: deque[tuple[Entry, Record]] = deque()
        self._refused: deque[tuple[Entry, Record]] = deque()

    @property
    def unacked(self) -> int:
        """Messages received and not acknowledged."""
        return len(self._unacknowledged)

    @property
    def waiting(self) -> int:
        """Records that are parked or refused."""
        return len(self._parked) + len(self._refused)

    def on_message(self, message: Message, received_us: int) -> None:
        """A message came; hand its record to the producer."""
        counts = self.counts
        counts.received += 1
        counts.received_bytes += len(message.payload)
        counts.redelivered += message.dup
        record = self._envelope.seal(message, received_us)
        if message.mid:
            entry = self._unacknowledged.open(message.mid)
        else:
            if self.waiting >= self._most_parked:
                counts.dropped_qos0 += 1
                return
            entry = Entry(0, self._unacknowledged.generation)
        if record is None:
            counts.retained += 1
            entry.durable = True
        elif self._parked or not self._produced(entry, record):
            self._parked.append((entry, record))

    def on_disconnect(self) -> None:
        """The connection is gone: what was not acknowledged comes again, with new ids."""
        self.counts.forgotten += self._unacknowledged.forget()
        self._parked = deque(item for item in self._parked if not item[0].mid)
        self._refused = deque(item for item in self._refused if not item[0].mid)

    def send_parked(self) -> None:
        """Hand over what was parked, as far as the producer takes it."""
        while self._parked and self._produced(*self._parked[0]):
            self._parked.popleft()

    def send_refused(self) -> None:
        """Try again what Kafka refused; call it once in a while."""
        self._parked.extendleft(reversed(self._refused))
        self._refused.clear()
        self.send_parked()

    def release(self) -> None:
        """Acknowledge what is durable, in receive order."""
        if mids := self._unacknowledged.release():
            self._acknowledge(mids)
            self.counts.acknowledged += len(mids)

    def _produced(self, entry: Entry, record: Record) -> bool:
        try:
            self._log.produce(
                record.topic,
                key=record.key,
                value=record.value,
                headers=record.headers,
                on_delivery=partial(self._on_delivery, entry, record),
            )
        except BufferError:
            return False
        self.in_flight += 1
        return True

    def _on_delivery(self, entry: Entry, record: Record, failure: Failure | None, _record: object) -> None:
        self.in_flight -= 1
        if failure is None:
            self.counts.durable += 1
            entry.durable = True
            return
        if failure.fatal():
            raise Defect(f"Kafka's producer cannot go on: {failure}")
        self.counts.refused += 1
        if not entry.mid or entry.generation == self._unacknowledged.generation:
            self._refused.append((entry, record))
