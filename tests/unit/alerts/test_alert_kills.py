"""Killed at every step, the alarms are the same and everybody is told; twice only what was not yet recorded."""

from alert_fakes import Life, World
from alert_records import anomaly, window
from knife import Killed, Knife

from services.alerts import rules
from services.alerts.courier import Outcome
from services.alerts.rules import Channel

RULES = rules.parse(
    """
rules:
  - {name: hot, source: aggregates, when: mean > 80.0, for: 20s}
  - {name: open, source: anomalies, when: 'severity in ["warning", "critical"]'}
  - {name: open-long, source: anomalies, when: 'severity in ["warning", "critical"]', for: 30s}
"""
)


def world() -> World:
    made = World()
    for device in ("pump-1", "pump-2"):
        made.append(anomaly("opened", 0, device=device, id=f"{device}:0"))
        for n, mean in enumerate([85, 85, 85, 85, 60, 85, 85]):
            made.append(window(10 * n, mean, device=device, id=f"{device}:{n}"))
        made.append(anomaly("closed", 45, revision=1, device=device, id=f"{device}:1"))
        made.append(window(70, 50, device=device, id=f"{device}:7"))
    return made


def lived_without_a_kill() -> tuple[World, int]:
    calm, knife = world(), Knife()
    Life(calm, RULES, knife).live()
    return calm, knife.cuts


def test_without_a_kill_each_event_is_written_once_and_each_channel_told_once():
    calm, _ = lived_without_a_kill()
    ids = [event.id for event in calm.events]
    assert len(ids) == len(set(ids)) == 2 * (4 + 2 + 2)
    assert sorted(calm.told) == sorted((channel, i) for channel in (Channel.LOG, Channel.WEBHOOK) for i in ids)
    assert calm.in_outboxes() == set()


def test_a_kill_at_any_step_changes_no_alarm_and_leaves_nobody_untold():
    calm, steps = lived_without_a_kill()
    expected = {event.id: event for event in calm.events}
    for step in range(1, steps + 1):
        killed = world()
        try:
            Life(killed, RULES, Knife(step)).live()
        except Killed:
            told_and_not_recorded = killed.in_outboxes() & set(killed.told)
        Life(killed, RULES).live()
        assert all(event == expected[event.id] for event in killed.events), step
        assert {event.id for event in killed.events} == set(expected), step
        assert set(killed.told) == set(calm.told), step
        twice = {told for told in killed.told if killed.told.count(told) > 1}
        assert twice == told_and_not_recorded, step
        order = list({event.id: event for event in killed.events}.values())
        for rule in RULES.by_name:
            for device in ("pump-1", "pump-2"):
                phases = [e.phase for e in order if (e.rule, e.device) == (rule, device)]
                assert phases == (["raised", "cleared"] * 2)[: len(phases)], step


def test_that_somebody_was_told_is_recorded_at_once_and_not_at_the_next_checkpoint():
    told = world()
    Life(told, RULES).turn(told.uncommitted())
    assert told.committed == {}
    assert told.told
    assert told.in_outboxes().isdisjoint(told.told)


def test_a_webhook_that_is_away_holds_up_neither_the_log_nor_the_topic():
    away = world()
    life = Life(away, RULES, webhook=[Outcome.AWAY] * 1000)
    for record in away.uncommitted():
        life.turn([record])
    calm, _ = lived_without_a_kill()
    assert {event.id for event in away.events} == {event.id for event in calm.events}
    assert [i for channel, i in away.told if channel is Channel.LOG] == [event.id for event in away.events]
    assert not any(channel is Channel.WEBHOOK for channel, _ in away.told)
    Life(away, RULES).live()
    assert {told for told in away.told if told[0] is Channel.WEBHOOK} == {(Channel.WEBHOOK, e.id) for e in away.events}


def test_what_the_receiver_refuses_for_good_is_not_tried_again():
    refused = world()
    Life(refused, RULES, webhook=[Outcome.REFUSED]).live()
    told = [i for channel, i in refused.told if channel is Channel.WEBHOOK]
    assert len(told) == len(refused.events) - 1
    assert refused.in_outboxes() == set()


def test_a_frozen_workers_late_write_does_not_win():
    frozen = world()
    records = frozen.uncommitted()
    first = Life(frozen, RULES)
    first.turn(records[:3])
    first.worker.checkpoint()
    old_states = list(frozen.states)
    Life(frozen, RULES).live()
    events = [event.id for event in frozen.events]
    frozen.states += old_states
    frozen.committed.clear()
    third = Life(frozen, RULES)
    third.live()
    assert [event.id for event in frozen.events] == events


def test_events_that_a_killed_worker_has_written_and_not_recorded_are_not_written_again():
    calm, steps = lived_without_a_kill()
    repeated = 0
    for step in range(1, steps + 1):
        killed = world()
        try:
            Life(killed, RULES, Knife(step)).live()
        except Killed:
            repeated += any(
                event.id not in {i for _, i in killed.in_outboxes() | set(killed.told)} for event in killed.events
            )
        Life(killed, RULES, written=[event.id for event in killed.events]).live()
        ids = [event.id for event in killed.events]
        assert len(ids) == len(set(ids)), step
        assert set(ids) == {event.id for event in calm.events}, step
        assert set(killed.told) == set(calm.told), step
    assert repeated > 0, "no kill fell between an event and its state"
