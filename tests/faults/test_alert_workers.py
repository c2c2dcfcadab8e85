"""Alerts workers that are killed and frozen under load: no alarm event twice, and in the end those of one plain pass.

The oracle is one plain pass of the rules over the same log, with the worker's ports over plain data.
"""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import msgspec
from integration.alert_processes import (
    DEADLINE_S,
    RULES,
    Alerts,
    Receiver,
    anomaly,
    eventually,
    window,
)
from unit.alerts.alert_fakes import Life, World

from schemas import topics
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.telemetry import Aggregate
from services.alerts import rules
from services.runtime.errors import ExitCode

DEVICES = [f"pump-{n}" for n in range(30)]
TICKS_PER_SECOND = 5
EVENTS_BETWEEN_FAULTS = 100
KILLS = 3
FROZEN_S = 12.0
"""Longer than the session of 6 s: the other worker owns the partitions when the frozen one wakes up."""


class Load(threading.Thread):
    """Anomalies that open and close, and windows that are hot for a while, at a steady rate until told to stop.

    A window follows two seconds behind the anomalies of its time, as the stream writes it behind its allowed lateness.
    """

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(name="load")
        self._alerts = alerts
        self._told_to_stop = threading.Event()

    def run(self) -> None:
        tick = 0
        while not self._told_to_stop.wait(1 / TICKS_PER_SECOND) or tick % 12:
            self._alerts.write(*self._anomalies(tick), *self._windows(tick - 10))
            tick += 1
        for late in range(tick - 10, tick):
            self._alerts.write(*self._windows(late))

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join(DEADLINE_S)

    def _anomalies(self, tick: int) -> Iterator[Anomaly]:
        """Each device's opens every 12 ticks of 10 s, and closes 8 ticks later: long enough for `open-long`."""
        for number, device in enumerate(DEVICES):
            phase = (tick + number) % 12
            opened_s = 1000.0 + 10 * (tick - phase)
            if tick < phase:
                continue
            if phase in (0, 8):
                kind, revision = ("opened", 0) if phase == 0 else ("closed", 1)
                yield anomaly(device, kind, 1000.0 + 10 * tick, opened_s, revision)

    def _windows(self, tick: int) -> Iterator[Aggregate]:
        for number, device in enumerate(DEVICES if tick >= 0 else []):
            yield window(device, 1000.0 + 10 * (tick - 1), 90.0 if (tick + number) % 10 < 5 else 20.0)


def plain_pass(alerts: Alerts) -> dict[str, AlarmEvent]:
    world = World()
    for topic, kind in ((topics.ANOMALIES, Anomaly), (topics.AGGREGATES, Aggregate)):
        for partition, value in alerts.records(topic):
            world.append(msgspec.json.decode(value, type=kind), partition)
    Life(world, rules.parse(RULES), partitions=range(alerts.partitions)).live(batch=50)
    return {event.id: event for event in world.events}


def test_workers_that_are_killed_and_frozen_raise_each_alarm_once(alerts: Alerts, receiver: Receiver):
    def hear_more(what: str) -> None:
        enough = len(receiver.posts) + EVENTS_BETWEEN_FAULTS
        eventually(lambda: len(receiver.posts) >= enough, what)

    def start_and_join() -> subprocess.Popen[bytes]:
        number = len(alerts.workers)
        worker = alerts.start()
        eventually(lambda: "partitions_assigned" in alerts.log_of(number), f"worker {number} has joined")
        return worker

    first, second = start_and_join(), start_and_join()
    load = Load(alerts)
    load.start()
    try:
        for _ in range(KILLS):
            hear_more("both are at work")
            alerts.wait_for_next_event()
            for worker in (first, second):
                worker.kill()
            first, second = start_and_join(), start_and_join()
        hear_more("both are at work again")
        second.send_signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        hear_more("the other has taken over")
        eventually(lambda: time.monotonic() > frozen_at + FROZEN_S, "the session of the frozen one is over")
        second.send_signal(signal.SIGCONT)
        assert second.wait(DEADLINE_S) == ExitCode.UNAVAILABLE
        second = start_and_join()
        hear_more("both are at work at the end")
    finally:
        load.stop()
    expected = plain_pass(alerts)
    assert len(expected) > 6 * EVENTS_BETWEEN_FAULTS
    eventually(lambda: {e.id for e in alerts.events()} >= expected.keys(), "all events are on the topic")
    posted = {i for i, event in expected.items() if event.rule == "open"}
    eventually(lambda: {key for key, _, _ in receiver.posts} >= posted, "all notifications were sent")
    for worker in (first, second):
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    events = alerts.events()
    assert {event.id: event for event in events} == expected
    assert len(events) == len(expected), "an alarm event stands twice on its topic"
    assert {key for key, _, _ in receiver.posts} == posted
    assert all(event == expected[key] for key, event, _ in receiver.posts)
    assert "stood still" in alerts.all_logs()
