"""`weir alerts`: from settings to rules, clients, the loop and the drain."""

import time
from typing import Final

from confluent_kafka import KafkaException, Producer

from services.alerts import channels, intake, metrics, rules
from services.alerts.courier import Carrier, Courier
from services.alerts.intake import Intake
from services.alerts.journal import KafkaJournal
from services.alerts.lease import Lease
from services.alerts.outbox import lanes
from services.alerts.rules import Channel, Rules
from services.alerts.worker import Worker
from services.runtime import kafka, logging, settings
from services.runtime.clock import now_us
from services.runtime.errors import Unavailable
from services.runtime.health import ASK_AGAIN_S, Answers, Health, HealthServer
from services.runtime.process import Shutdown
from services.runtime.reporting import Reporter
from services.runtime.settings import AlertsSettings

log = logging.get("alerts")

CHECKPOINT_S: Final = 2.0
SHOW_S: Final = 5.0
"""How often the service looks at its lag and reports its metrics."""
HANDOVER_S: Final = 6.0
"""How long notifications in flight may take to be answered before partitions, or the process, go."""
_STUCK_S: Final = 60.0


def run() -> None:
    """Watch until SIGTERM, then let notifications in flight end, checkpoint and leave."""
    told = settings.load(AlertsSettings)
    logging.configure("alerts", level=told.log.level, form=told.log.format)
    in_force = rules.load(told.alerts.rules_dir)
    shutdown, health = Shutdown().install(), Health()
    server = HealthServer(health, told.alerts.http_port, told.http.host)
    health.wait_for("kafka", f"topics on {told.kafka.bootstrap}")
    if kafka.wait_for_topics(told.kafka, shutdown):
        alerts = Alerts(told, in_force, health, shutdown)
        log.info("alerts_started", rules=sorted(in_force.by_name), http_port=server.port)
        while not shutdown():
            alerts.turn()
        alerts.drain()
    server.close()
    log.info("alerts_stopped")


class Alerts:
    """The parts of the service, and the order in which they take their turns."""

    def __init__(self, told: AlertsSettings, in_force: Rules, health: Health, shutdown: Shutdown) -> None:
        self._health = health
        self._shutdown = shutdown
        self._carriers = channels.configured(told, health)
        _warn_of_silent_rules(in_force, self._carriers)
        ways = lanes(frozenset(carrier.channel for carrier in self._carriers))
        self._couriers = [Courier(ways[carrier.channel], carrier) for carrier in self._carriers]
        self._producer: Producer = kafka.producer(told.kafka)
        self._consumer = intake.consumer(told)
        self._lease = Lease(told.alerts.session_timeout_ms / 1000).keep()
        journal = KafkaJournal(
            self._producer,
            self._consumer,
            told.kafka.topic_prefix,
            check=self._lease.check,
            waiting=self._wait_for_kafka,
        )
        self._worker = Worker(in_force, journal, ways)
        self._intake = Intake(told.kafka, self._consumer, self._worker, self._hand_over)
        self._reporter = Reporter(self._producer, "alerts", name=told.metrics.instance, prefix=told.kafka.topic_prefix)
        self._checkpoint_s = time.monotonic() + CHECKPOINT_S
        self._show_s = 0.0
        self._kafka = Answers(health, "kafka", logging.Outage(log, "kafka_unavailable", "kafka_back"))
        self._give_up_s: float | None = None
        health.watch("loop", _STUCK_S)
        health.wait_for("kafka", "not in the group yet")
        self._intake.subscribe()

    def turn(self) -> None:
        """Read, apply, send, record what was sent; a checkpoint when it is time."""
        self._health.tick("loop")
        records = self._intake.read()
        self._lease.check()
        self._worker.handle(records)
        self._lease.check()
        self._worker.settle([entry for courier in self._couriers for entry in courier.turn(time.monotonic())])
        if time.monotonic() >= self._checkpoint_s:
            self._checkpoint_s = time.monotonic() + CHECKPOINT_S
            self._worker.checkpoint()
        if time.monotonic() >= self._show_s:
            self._show_s = time.monotonic() + SHOW_S
            self._show()

    def drain(self) -> None:
        """Leave in good order: nothing that was sent is forgotten, nothing that was read is read again."""
        self._give_up_s = time.monotonic() + HANDOVER_S
        self._hand_over()
        self._worker.drop(self._worker.partitions)
        self._consumer.close()
        for carrier in self._carriers:
            carrier.close()
        self._producer.flush(1.0)

    def _hand_over(self) -> None:
        deadline_s = time.monotonic() + HANDOVER_S
        while any(courier.in_flight for courier in self._couriers) and time.monotonic() < deadline_s:
            self._worker.settle([entry for courier in self._couriers for entry in courier.collect(time.monotonic())])
            time.sleep(0.005)
        self._worker.checkpoint()

    def _show(self) -> None:
        self._producer.poll(0)
        self._reporter.report(now_us())
        try:
            lag = self._intake.lag()
        except KafkaException as error:
            self._kafka.failed(error.args[0].str())
            self._show_s = time.monotonic() + ASK_AGAIN_S
            return
        if self._intake.has_joined:
            self._kafka.came()
        for topic, records in lag.items():
            metrics.LAG.labels(topic).set(records)

    def _wait_for_kafka(self) -> None:
        """Called while Kafka takes nothing; gives up when there is no time left."""
        self._health.tick("loop")
        self._health.wait_for("kafka", "it takes no records")
        if self._shutdown() and self._give_up_s is None:
            self._give_up_s = time.monotonic() + HANDOVER_S
        if self._give_up_s is not None and time.monotonic() >= self._give_up_s:
            raise Unavailable("Kafka did not take what was written; nothing is committed")


def _warn_of_silent_rules(in_force: Rules, carriers: list[Carrier]) -> None:
    there = {carrier.channel for carrier in carriers}
    for rule in in_force.by_name.values():
        if rule.channels != frozenset(Channel) and (missing := rule.channels - there):
            log.warning("rule_names_absent_channel", rule=rule.name, channels=sorted(missing))
