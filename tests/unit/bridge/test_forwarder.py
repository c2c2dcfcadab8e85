"""Nothing is acknowledged that is not durable; whatever is killed, every message ends in the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import raw, topics
from services.bridge.envelope import Envelope
from services.bridge.forwarder import Forwarder
from services.bridge.packets import Message
from services.runtime.errors import Defect
from services.runtime.routes import load_routes

ENVELOPE = Envelope(load_routes(None), max_payload_bytes=2048)
AT = 1_700_000_000_000_000


class Killed(BaseException):
    """kill -9: nothing of the process is left but what the servers hold."""


class Steps:
    """Counts the calls at the ports and kills at one of them."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.taken = 0
        self.kill_at = kill_at

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.kill_at:
            raise Killed


class Refusal:
    def __init__(self, *, fatal: bool) -> None:
        self._fatal = fatal

    def fatal(self) -> bool:
        return self._fatal


class Kafka:
    """Two partitions with queues in the producer; the log outlives a kill. Every `refuse_every`-th record fails."""

    def __init__(self, *, room: int = 1000, refuse_every: int = 0) -> None:
        self.log: list[tuple[bytes, bytes, dict]] = []
        self.room = room
        self.refuse_every = refuse_every
        self.steps = Steps()
        self.queues: tuple[deque, deque] = (deque(), deque())
        self._produced = count(1)

    def killed(self) -> None:
        self.queues = (deque(), deque())

    def produce(self, topic, *, key, value, headers, on_delivery) -> None:
        self.steps.step()
        if sum(map(len, self.queues)) >= self.room:
            raise BufferError
        self.queues[key[-1] % 2].append((key, value, dict(headers), on_delivery, next(self._produced)))
        self.steps.step()

    def poll(self, partition: int, most: int) -> None:
        queue = self.queues[partition % 2]
        for _ in range(min(most, len(queue))):
            key, value, headers, report, number = queue.popleft()
            if self.refuse_every and number % self.refuse_every == 0:
                report(Refusal(fatal=False), None)
                continue
            self.log.append((key, value, headers))
            self.steps.step()
            report(None, None)


class Broker:
    """A persistent session: a window in flight, the rest queued; what is not acknowledged comes again with DUP."""

    def __init__(self, kafka: Kafka, payloads: list[bytes], *, window: int = 4) -> None:
        self.kafka = kafka
        self.window = window
        self.queue = deque((f"weir/v1/acme/berlin/pump-{i % 3}/telemetry".encode(), p) for i, p in enumerate(payloads))
        self.in_flight: dict[int, tuple[bytes, bytes]] = {}
        self.steps = Steps()
        self.acked: list[int] = []
        self._mids = count(1)

    def acknowledge(self, mids: list[int]) -> None:
        self.steps.step()
        durable = {value for _, value, _ in self.kafka.log}
        assert mids == list(self.in_flight)[: len(mids)], "PUBACKs leave in receive order"
        for mid in mids:
            assert self.in_flight.pop(mid)[1] in durable, "acknowledged, but not durable"
        self.acked += mids
        self.steps.step()

    def again(self) -> list[Message]:
        return [Message(t, p, mid, dup=True, retain=False) for mid, (t, p) in self.in_flight.items()]

    def more(self) -> list[Message]:
        messages = []
        while self.queue and len(self.in_flight) < self.window:
            mid, (topic, payload) = next(self._mids), self.queue.popleft()
            self.in_flight[mid] = (topic, payload)
            messages.append(Message(topic, payload, mid, dup=False, retain=False))
        return messages


def live(broker: Broker, kafka: Kafka, *, lost_after: Sequence[int] = (), polls: Sequence[int] = (0, 1)) -> None:
    """One life of a bridge: until the broker has nothing left, or Killed.

    `lost_after` are the turns after which the connection is lost, `polls` the partitions that make progress, in turn.
    """
    forwarder = Forwarder(ENVELOPE, kafka, broker.acknowledge, most_parked=broker.window)
    arriving = broker.again()
    for turn, partition in zip(range(1000), cycle(polls), strict=False):
        if not arriving and not broker.queue and not broker.in_flight:
            return
        for message in [*arriving, *broker.more()]:
            forwarder.on_message(message, AT)
            assert forwarder.unacked <= broker.window
            assert forwarder.waiting <= broker.window
        arriving = []
        kafka.poll(partition, 2)
        forwarder.send_parked()
        forwarder.release()
        forwarder.send_refused()
        if turn in lost_after:
            forwarder.on_disconnect()
            assert forwarder.unacked == 0
            arriving = broker.again()
    raise AssertionError("the bridge stands still")


PAYLOADS = [b"m%d" % i for i in range(12)]
ROUGH = [
    {},
    {"room": 2},
    {"refuse_every": 3},
    {"room": 3, "refuse_every": 2},
]


@pytest.mark.parametrize("kafka_is", ROUGH)
@pytest.mark.parametrize("lost_after", [(), (1, 4, 9)])
def test_a_kill_at_any_step_loses_nothing(kafka_is: dict, lost_after: tuple[int, ...]):
    """`Broker.acknowledge` checks at each step that what is acknowledged is durable, and its order."""
    for kill_at in count(1):
        kafka = Kafka(**kafka_is)
        broker = Broker(kafka, PAYLOADS)
        kafka.steps = broker.steps = Steps(kill_at)
        try:
            live(broker, kafka, lost_after=lost_after)
            killed = False
        except Killed:
            killed = True
            kafka.killed()
            live(broker, kafka, lost_after=lost_after)
        assert {value for _, value, _ in kafka.log} == set(PAYLOADS)
        if not killed:
            assert kill_at > 30
            return


def test_without_faults_every_message_is_in_the_log_exactly_once():
    kafka = Kafka()
    broker = Broker(kafka, PAYLOADS)

    live(broker, kafka)

    assert sorted(value for _, value, _ in kafka.log) == sorted(PAYLOADS)
    assert {headers[raw.MQTT_DUP] for _, _, headers in kafka.log} == {b"0"}


@given(st.lists(st.integers(0, 1), max_size=10), st.integers(1, 6), st.lists(st.integers(0, 40), max_size=4))
def test_each_devices_messages_keep_their_order_while_the_producer_is_full(
    polls: list[int], room: int, lost_after: list[int]
):
    """Repeats aside: they come after a lost connection, behind what the producer still holds."""
    kafka = Kafka(room=room)
    broker = Broker(kafka, [b"%03d" % i for i in range(30)])
    live(broker, kafka, lost_after=lost_after, polls=[*polls, 0, 1])

    for device in range(3):
        values = [value for key, value, _ in kafka.log if key == b"acme/pump-%d" % device]
        assert list(dict.fromkeys(values)) == sorted(set(values))


def idle(kafka: Kafka, *, most_parked: int = 4) -> tuple[Forwarder, list[int]]:
    acked: list[int] = []
    return Forwarder(ENVELOPE, kafka, acked.extend, most_parked=most_parked), acked


def telemetry(mid: int, **more) -> Message:
    return Message(
        **(
            {"topic": b"weir/v1/a/b/c/telemetry", "payload": b"%d" % mid, "mid": mid, "dup": False, "retain": False}
            | more
        )
    )


def test_while_kafka_is_away_nothing_is_acknowledged():
    kafka = Kafka(room=2)
    forwarder, acked = idle(kafka)
    for mid in range(1, 5):
        forwarder.on_message(telemetry(mid), AT)
    for _ in range(10):
        forwarder.send_parked()
        forwarder.release()

    assert (acked, forwarder.unacked, forwarder.waiting, forwarder.in_flight) == ([], 4, 2, 2)

    for _ in range(2):
        kafka.poll(ord("c"), 10)
        forwarder.send_parked()
    forwarder.release()
    assert acked == [1, 2, 3, 4]


def test_a_retained_copy_is_acknowledged_in_its_turn():
    kafka = Kafka()
    forwarder, acked = idle(kafka)
    forwarder.on_message(telemetry(1), AT)
    forwarder.on_message(telemetry(2, retain=True), AT)

    forwarder.release()
    assert acked == []

    kafka.poll(ord("c"), 10)
    forwarder.release()
    assert acked == [1, 2]
    assert len(kafka.log) == forwarder.counts.retained == 1


def test_a_refused_record_is_tried_again_and_not_acknowledged_before():
    kafka = Kafka(refuse_every=1)
    forwarder, acked = idle(kafka)
    forwarder.on_message(telemetry(1), AT)
    kafka.poll(ord("c"), 10)
    forwarder.release()
    assert (acked, forwarder.waiting, forwarder.counts.refused) == ([], 1, 1)

    kafka.refuse_every = 0
    forwarder.send_refused()
    kafka.poll(ord("c"), 10)
    forwarder.release()
    assert acked == [1]


def test_a_message_waits_behind_parked_ones_though_the_producer_has_room_again():
    kafka = Kafka(room=1)
    forwarder, _ = idle(kafka)
    forwarder.on_message(telemetry(1), AT)
    forwarder.on_message(telemetry(2), AT)
    kafka.poll(ord("c"), 1)
    forwarder.on_message(telemetry(3), AT)
    for _ in range(3):
        forwarder.send_parked()
        kafka.poll(ord("c"), 1)

    assert [value for _, value, _ in kafka.log] == [b"1", b"2", b"3"]


def test_a_refused_record_is_not_tried_again_after_a_disconnect():
    kafka = Kafka(refuse_every=1)
    forwarder, _ = idle(kafka)
    forwarder.on_message(telemetry(1), AT)
    kafka.poll(ord("c"), 10)
    forwarder.on_disconnect()

    assert forwarder.waiting == 0


def test_a_record_refused_after_a_disconnect_is_left_to_the_redelivery():
    kafka = Kafka(refuse_every=1)
    forwarder, _ = idle(kafka)
    forwarder.on_message(telemetry(1), AT)
    forwarder.on_disconnect()
    kafka.poll(ord("c"), 10)

    assert forwarder.waiting == 0
    assert forwarder.in_flight == 0


def test_a_fatal_error_of_the_producer_ends_the_bridge():
    kafka = Kafka()
    forwarder, acked = idle(kafka)
    forwarder.on_message(telemetry(1), AT)

    with pytest.raises(Defect):
        kafka.queues[ord("c") % 2][0][3](Refusal(fatal=True), None)
    forwarder.release()
    assert acked == []


def test_qos_0_waits_through_a_disconnect_and_is_dropped_and_counted_only_beyond_the_bound():
    kafka = Kafka(room=1)
    forwarder, acked = idle(kafka, most_parked=2)
    for number in range(5):
        forwarder.on_message(telemetry(0, payload=b"q%d" % number), AT)
    assert (forwarder.waiting, forwarder.counts.dropped_qos0) == (2, 2)

    forwarder.on_disconnect()
    for _ in range(3):
        kafka.poll(ord("c"), 10)
        forwarder.send_parked()
    forwarder.release()
    assert [value for _, value, _ in kafka.log] == [b"q0", b"q1", b"q2"]
    assert acked == []


@pytest.mark.parametrize(
    "topic", [b"", b"weir/v1/\xff/x/y/telemetry", b"weir/v1/../../..", b"#", b"weir/v1/" + b"/" * 999]
)
def test_a_hostile_topic_is_one_record_and_one_acknowledgement(topic: bytes):
    kafka = Kafka()
    forwarder, acked = idle(kafka)
    forwarder.on_message(telemetry(1, topic=topic), AT)
    for partition in (0, 1):
        kafka.poll(partition, 10)
    forwarder.release()

    ((key, _, headers),) = kafka.log
    assert (key, acked) == (topics.UNPLACED_KEY, [1])
    assert headers[raw.REJECT] in ("unroutable", "bad_topic")
