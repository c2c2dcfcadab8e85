"""A channel that is away for minutes, or hangs: few attempts, bounded waiting, a metric, and all of it in the end."""

from alert_fakes import Life, World
from alert_records import anomaly

from services.alerts import metrics, rules
from services.alerts.courier import Answer, Courier, Outcome
from services.alerts.outbox import Entry, Lane
from services.alerts.rules import Channel

OPEN = rules.parse("rules: [{name: open, source: anomalies, when: score > 0.5}]")
AWAY_S = 300.0
LIMIT = 20


class Receiver:
    """A webhook that answers 500 until `back_s`, or nothing at all."""

    channel = Channel.WEBHOOK
    parallel = 4

    def __init__(self, back_s: float = 0.0, *, hangs: bool = False) -> None:
        self.now_s = 0.0
        self.attempts: list[float] = []
        self.took: list[str] = []
        self._back_s = back_s
        self._hangs = hangs
        self._answers: list[Answer] = []

    def send(self, entry: Entry) -> None:
        self.attempts.append(self.now_s)
        if self._hangs:
            return
        if self.now_s < self._back_s:
            self._answers.append(Answer(entry, Outcome.AWAY, "HTTP 500"))
            return
        self.took.append(entry.id)
        self._answers.append(Answer(entry, Outcome.SENT))

    def answers(self) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        pass


def a_world(devices: int) -> World:
    world = World()
    for n in range(devices):
        world.append(anomaly("opened", n, opened_s=n, device=f"pump-{n}", id=f"pump-{n}"))
    return world


def live(receiver: Receiver, world: World, until_s: float) -> Life:
    """One record a second, a turn every 0.1 s."""
    lanes = {Channel.LOG: Lane(), Channel.WEBHOOK: Lane(limit=LIMIT)}
    life = Life(world, OPEN, lanes=lanes)
    life.couriers[1] = Courier(lanes[Channel.WEBHOOK], receiver)
    records = world.uncommitted()
    for tenth in range(round(until_s * 10)):
        life.now_s = receiver.now_s = tenth / 10
        if tenth % 10 == 0:
            life.worker.handle(records[tenth // 10 : tenth // 10 + 1])
        for courier in life.couriers:
            life.worker.settle(courier.turn(receiver.now_s))
    life.worker.checkpoint()
    return life


def test_a_receiver_that_answers_500_for_minutes_is_asked_ever_less_often_and_then_gets_the_newest():
    failures, dropped = metrics.FAILURES.labels(Channel.WEBHOOK), metrics.DROPPED.labels("full")
    failed_before, dropped_before = failures._value.get(), dropped._value.get()
    receiver, world = Receiver(back_s=AWAY_S), a_world(60)
    life = live(receiver, world, AWAY_S + 30)
    failed = [at for at in receiver.attempts if at < AWAY_S]
    assert failures._value.get() - failed_before == len(failed)
    assert receiver.parallel * 20 < len(failed) < receiver.parallel * 60
    assert dropped._value.get() - dropped_before == 60 - LIMIT
    assert len(receiver.took) == len(set(receiver.took)) == LIMIT
    assert len(life.lanes[Channel.WEBHOOK]) == 0
    assert world.in_outboxes() == set()
    assert [i for channel, i in world.told if channel is Channel.LOG] == [event.id for event in world.events]


def test_a_receiver_that_hangs_holds_a_few_notifications_and_nobody_else():
    receiver, world = Receiver(hangs=True), a_world(60)
    life = live(receiver, world, 100)
    assert len(receiver.attempts) == life.couriers[1].in_flight == receiver.parallel
    assert len(life.lanes[Channel.WEBHOOK]) == LIMIT
    assert [i for channel, i in world.told if channel is Channel.LOG] == [event.id for event in world.events]
    assert len(world.events) == 60
