"""The bridge as a process: one thread reads MQTT, hands to Kafka, collects delivery reports and acknowledges."""

import time
from typing import Final

from confluent_kafka import Producer

from services.bridge.connection import Connection
from services.bridge.envelope import Envelope
from services.bridge.forwarder import Forwarder
from services.bridge.metrics import Meter
from services.bridge.packets import Message
from services.runtime import kafka, logging, settings
from services.runtime.clock import now_us
from services.runtime.health import Health, HealthServer
from services.runtime.process import Shutdown, look_for_garbage_seldom
from services.runtime.reporting import Reporter
from services.runtime.routes import Routes, load_routes
from services.runtime.settings import BridgeSettings

log = logging.get("bridge")

_IDLE_S: Final = 0.25
"""Longest sleep while nothing is in flight; a message ends it at once."""
_FULL_S: Final = 0.005
"""Longest sleep while no more may be read; a delivery report ends it at once."""
_BURST_MS: Final = 2.0
"""What was read together reaches the producer within this time, and goes to Kafka together."""
_LEAST_QUEUE_BYTES: Final = 4 * 1024 * 1024
_STALLED_S: Final = 5.0
"""Kafka counts as away when it has taken nothing of what it was given for this long."""


def run() -> None:
    """Carry messages until SIGTERM, then drain."""
    told = settings.load(BridgeSettings)
    logging.configure("bridge", level=told.log.level, form=told.log.format)
    routes = load_routes(told.bridge.routes_file)
    shutdown, health = Shutdown().install(), Health()
    server = HealthServer(health, told.bridge.http_port, told.http.host)
    health.wait_for("kafka", f"topics on {told.kafka.bootstrap}")
    if kafka.wait_for_topics(told.kafka, shutdown):
        bridge = Bridge(told, routes, health)
        look_for_garbage_seldom()
        while not shutdown():
            bridge.turn()
        bridge.drain(time.monotonic() + told.bridge.drain_s)
    server.close()


class Bridge:
    """The parts of a bridge, and the order in which they take their turns."""

    def __init__(self, told: BridgeSettings, routes: Routes, health: Health) -> None:
        options = told.bridge
        # Small, so that reconnects during an outage of Kafka cannot pile up repeats in the producer, and QoS 0 nothing.
        self._producer = kafka.producer(
            told.kafka,
            linger_ms=min(_BURST_MS, options.linger_ms),
            queue_messages=max(1000, 4 * options.receive_maximum),
            queue_bytes=max(_LEAST_QUEUE_BYTES, 2 * options.receive_maximum * options.max_payload_bytes),
        )
        envelope = Envelope(routes, max_payload_bytes=options.max_payload_bytes, prefix=told.kafka.topic_prefix)
        self._forwarder = Forwarder(envelope, self._producer, self._acknowledge, most_parked=options.receive_maximum)
        self._connection = Connection(
            told.mqtt,
            options,
            routes.filters(),
            health,
            on_message=self._on_message,
            on_disconnect=self._forwarder.on_disconnect,
        )
        self._health = health
        self._stall = Stall(self._producer, self._forwarder, health, told.kafka.bootstrap)
        self._meter = Meter(self._forwarder)
        self._reporter = Reporter(self._producer, "bridge", name=told.metrics.instance, prefix=told.kafka.topic_prefix)
        self._gather_s = options.linger_ms / 1000
        self._receive_maximum = options.receive_maximum
        self._draining = False
        self._second = 0.0
        health.watch("loop", 1.5 * told.mqtt.keepalive_s)

    def turn(self) -> None:
        """Read, produce, collect reports, acknowledge: in this order, by this one thread."""
        forwarder = self._forwarder
        # Mosquitto 2.0.11 sends far more than the receive maximum once acknowledgements flow, so we keep it ourselves.
        reading = self._draining or forwarder.unacked < self._receive_maximum
        more = self._connection.turn(0.0 if forwarder.in_flight else _IDLE_S, reading=reading)
        if forwarder.in_flight and not more:
            self._pause()
        else:
            self._producer.poll(0.0)
        self._forwarder.send_parked()
        self._forwarder.release()
        if (now := time.monotonic()) >= self._second:
            self._second = now + 1.0
            self._each_second(now)

    def _pause(self) -> None:
        """Sleep while records are in flight: one awakening for all messages and reports that come meanwhile."""
        if self._draining or self._forwarder.unacked >= self._receive_maximum:
            self._producer.poll(_FULL_S)
        else:
            time.sleep(self._gather_s)
            self._producer.poll(0.0)

    def drain(self, deadline: float) -> None:
        """Take in nothing more; acknowledge what becomes durable by `deadline` (monotonic), and leave."""
        self._draining = True
        while self._forwarder.unacked and time.monotonic() < deadline:
            self.turn()
        self._connection.leave(min(deadline, time.monotonic() + 1.0))
        left = self._producer.flush(max(0.0, deadline - time.monotonic()))
        log.info("drained", unacked=self._forwarder.unacked, unsent=left)

    def _on_message(self, message: Message) -> None:
        # What comes while draining is read, so that the socket closes cleanly, and left to the next bridge.
        if not self._draining:
            self._forwarder.on_message(message, now_us())

    def _acknowledge(self, mids: list[int]) -> None:
        self._connection.acknowledge(mids)

    def _each_second(self, now: float) -> None:
        self._health.tick("loop")
        self._stall.check(now)
        self._forwarder.send_refused()
        self._meter.show()
        self._reporter.report(now_us())


class Stall:
    """Kafka is away when records wait and none becomes durable; said once when it goes and once when it is back."""

    def __init__(self, producer: Producer, forwarder: Forwarder, health: Health, where: str) -> None:
        self._producer = producer
        self._forwarder = forwarder
        self._health = health
        self._where = where
        self._durable = 0
        self._moved_at = time.monotonic()
        self._away = False
        health.has("kafka")

    def check(self, now: float) -> None:
        """Compare with the last look; `now` is monotonic seconds."""
        durable = self._forwarder.counts.durable
        if durable != self._durable or not self._forwarder.unacked:
            self._durable, self._moved_at = durable, now
        away = now - self._moved_at >= _STALLED_S
        if away and not self._away:
            self._health.wait_for("kafka", f"{self._where} takes no records; nothing is acknowledged")
            log.warning("kafka_unavailable", bootstrap=self._where, unacked=self._forwarder.unacked)
        elif self._away and not away:
            self._health.has("kafka")
            log.info("kafka_back", bootstrap=self._where)
        self._away = away
