"""Notifications on their way: whose turn it is, and what goes when there are too many."""

from alert_records import anomaly

from services.alerts import rules
from services.alerts.engine import anomaly_step
from services.alerts.outbox import Entry, Lane, Place
from services.alerts.rules import Channel, Source
from services.alerts.state import Notification, Watch

RULES = rules.parse("rules: [{name: r, source: anomalies, when: score > 0.5}]")


def entry(device: str, number: int = 0, partition: int = 0) -> Entry:
    record = anomaly("opened", number, opened_s=number, device=device)
    (event,) = anomaly_step(RULES, Watch(), record, 0).events
    place = Place(partition, f"acme/{device}", Source.ANOMALIES)
    return Entry(place, Notification(Channel.WEBHOOK, event), 0.0)


def filled(*entries: Entry, **limits: int) -> Lane:
    lane = Lane(**limits)
    for one in entries:
        lane.add(one)
    return lane


def test_a_device_waits_for_its_last_notification_and_not_for_those_of_others():
    a0, a1, b0 = entry("a", 0), entry("a", 1), entry("b", 0)
    lane = filled(a0, a1, b0)
    assert [lane.next(), lane.next(), lane.next()] == [a0, b0, None]
    assert lane.done(a0)
    assert lane.next() == a1
    assert lane.in_flight == 2


def test_one_that_failed_goes_again_after_those_of_other_devices_and_before_its_devices_next():
    a0, a1, b0 = entry("a", 0), entry("a", 1), entry("b", 0)
    lane = filled(a0, a1, b0)
    assert lane.next() == a0
    lane.failed(a0)
    assert [lane.next(), lane.next()] == [b0, a0]


def test_when_full_the_oldest_that_is_not_in_flight_goes():
    a, b, c, d = (entry(device) for device in "abcd")
    lane = filled(a, b, c, limit=3)
    assert lane.next() == a
    assert lane.add(d) == [b]
    assert len(lane) == 3


def test_one_device_cannot_fill_the_lane():
    first, second, third = (entry("a", n) for n in range(3))
    lane = filled(first, second, entry("b"), device_limit=2)
    assert lane.add(third) == [first]
    assert lane.next() == second


def test_one_that_is_there_is_not_taken_twice():
    lane = filled(entry("a"))
    assert lane.add(entry("a")) == []
    assert lane.done(lane.next())
    assert lane.next() is None


def test_what_was_forgotten_while_in_flight_ends_without_effect():
    a, b = entry("a", partition=1), entry("b", partition=2)
    lane = filled(a, b)
    lane.next()
    lane.next()
    lane.forget(1)
    assert not lane.done(a)
    lane.failed(a)
    assert (len(lane), lane.in_flight) == (1, 1)
    assert lane.done(b)
    assert len(lane) == 0
