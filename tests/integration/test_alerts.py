"""Alerts with the real Kafka and Mosquitto, and an HTTP server that people's webhooks stand for."""

import signal
import threading
import uuid

import msgspec
import paho.mqtt.client as paho
from integration.alert_processes import DEADLINE_S, Alerts, Receiver, anomaly, eventually, window
from paho.mqtt.enums import CallbackAPIVersion

from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly

TURNS = 3


def life(device: str) -> list[Anomaly]:
    return [anomaly(device, "opened", 1000), anomaly(device, "closed", 1040, revision=1)]


def of_rule(events: list[AlarmEvent], rule: str) -> list[AlarmEvent]:
    return [event for event in events if event.rule == rule]


def test_an_anomaly_reaches_the_topic_the_webhook_and_mqtt_once_each(
    alerts: Alerts, receiver: Receiver, mosquitto: tuple[str, int]
) -> None:
    device = f"pump-{uuid.uuid4().hex[:6]}"
    heard: list[tuple[str, AlarmEvent, bool]] = []
    subscribed = threading.Event()
    listener = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    listener.on_connect = lambda c, *_: c.subscribe("weir-out/v1/#", qos=1)
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.on_message = lambda _c, _u, m: heard.append(
        (m.topic, msgspec.json.decode(m.payload, type=AlarmEvent), m.retain)
    )
    listener.connect(*mosquitto)
    listener.loop_start()
    assert subscribed.wait(DEADLINE_S)
    worker = alerts.start()
    alerts.write(*life(device))

    def mine() -> list[tuple[str, AlarmEvent, bool]]:
        return [h for h in heard if h[1].device == device]

    eventually(lambda: len(mine()) >= 2 and len(receiver.posts) >= 2, "two notifications on each channel")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(DEADLINE_S) == 0, alerts.log_of(0)
    events = alerts.events()
    assert [event.phase for event in events] == ["raised", "cleared"]
    assert [event for _, event, _ in receiver.posts] == events
    assert [key for key, _, _ in receiver.posts] == [event.id for event in events]
    assert mine() == [(f"weir-out/v1/acme/berlin/{device}/alarms", event, False) for event in events]
    assert "s3cret" not in alerts.log_of(0)
    listener.disconnect()
    listener.loop_stop()


def test_a_webhook_that_is_away_holds_up_no_alarm_and_hears_all_after_a_restart(
    alerts: Alerts, receiver: Receiver
) -> None:
    receiver.status = 503
    devices = [f"pump-{n}" for n in range(5)]
    first = alerts.start()
    alerts.write(*(record for device in devices for record in life(device)))
    eventually(lambda: len(alerts.events()) == 10, "all events are on the topic while the webhook is away")
    first.kill()
    first.wait(DEADLINE_S)
    receiver.status = 200
    alerts.start()
    eventually(lambda: len(receiver.posts) >= 10, "all notifications after the restart")
    assert sorted(key for key, _, _ in receiver.posts) == sorted(event.id for event in alerts.events())
    for device in devices:
        assert [e.phase for _, e, _ in receiver.posts if e.device == device] == ["raised", "cleared"]


def test_killed_again_and_again_no_alarm_is_lost_and_no_id_says_two_things(alerts: Alerts, receiver: Receiver) -> None:
    devices = [f"pump-{n}" for n in range(40)]
    worker = alerts.start()
    for turn in range(TURNS):
        alerts.write(*(anomaly(d, "opened", 1000 + 100 * turn, 1000 + 100 * turn) for d in devices))
        eventually(lambda seen=turn: len(receiver.posts) > 80 * seen + 20, "the worker is at work")
        worker.kill()
        worker.wait(DEADLINE_S)
        alerts.write(*(anomaly(d, "closed", 1050 + 100 * turn, 1000 + 100 * turn, revision=1) for d in devices))
        worker = alerts.start()
        eventually(
            lambda seen=turn: len({key for key, _, _ in receiver.posts}) >= 80 * (seen + 1), "all of it was sent"
        )
    contents: dict[str, set[bytes]] = {}
    for event in alerts.events():
        contents.setdefault(event.id, set()).add(msgspec.json.encode(event))
    assert len(contents) == 40 * TURNS * 2
    assert all(len(said) == 1 for said in contents.values())
    for device in devices:
        order = list(dict.fromkeys(e.id for e in alerts.events() if e.device == device))
        assert [i.rpartition(":")[2] for i in order] == ["raised", "cleared"] * TURNS


def test_two_workers_share_the_partitions_and_keep_both_topics_of_a_device_together(
    alerts: Alerts, receiver: Receiver
) -> None:
    first, second = alerts.start(), alerts.start()
    eventually(
        lambda: all("partitions_assigned" in alerts.log_of(n) for n in (0, 1)), "both workers have joined the group"
    )
    devices = [f"pump-{n}" for n in range(20)]
    alerts.write(*(anomaly(d, "opened", 1000) for d in devices))
    alerts.write(*(window(d, start_s, 20) for d in devices for start_s in (1000, 1040, 1050, 1060)))
    eventually(lambda: len(of_rule(alerts.events(), "open-long")) == 20, "aggregates told that the anomalies last")
    first.kill()
    first.wait(DEADLINE_S)
    alerts.write(*(anomaly(d, "closed", 1100, revision=1) for d in devices))
    eventually(lambda: len({e.id for e in alerts.events()}) == 80, "the other worker goes on where the first was")
    for rule in ("open", "open-long"):
        assert {e.device for e in of_rule(alerts.events(), rule) if e.phase == "cleared"} == set(devices)
    second.send_signal(signal.SIGTERM)
    assert second.wait(DEADLINE_S) == 0, alerts.log_of(1)


def test_an_alarm_by_an_aggregate_goes_on_where_it_was_after_a_kill(alerts: Alerts) -> None:
    worker = alerts.start()
    alerts.write(window("pump-1", 1000, 90))
    eventually(lambda: [e.phase for e in alerts.events()] == ["raised"], "raised")
    worker.kill()
    worker.wait(DEADLINE_S)
    alerts.start()
    alerts.write(window("pump-1", 1010, 90), window("pump-1", 1020, 20))
    eventually(lambda: [e.phase for e in alerts.events()] == ["raised", "cleared"], "cleared by the next worker")
    raised, cleared = alerts.events()
    assert raised.alarm == cleared.alarm
