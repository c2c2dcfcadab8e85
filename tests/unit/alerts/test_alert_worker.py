"""What the worker does beside applying rules: records it cannot read, rules that changed, lanes that overflow."""

import pytest
from alert_fakes import Life, World
from alert_records import anomaly, window

from services.alerts import metrics, rules
from services.alerts.courier import Outcome
from services.alerts.outbox import Lane
from services.alerts.rules import Channel, Source
from services.alerts.worker import Record, StateWrite
from services.runtime.errors import Defect

OPEN = rules.parse("rules: [{name: open, source: anomalies, when: score > 0.5}]")
LONG = rules.parse("rules: [{name: long, source: anomalies, when: score > 0.5, for: 60s}]")
OTHER = rules.parse("rules: [{name: other, source: anomalies, when: score > 0.99}]")


def phases(world: World) -> list[tuple[str, str]]:
    return [(event.rule, event.phase.value) for event in world.events]


def test_a_record_that_is_none_is_counted_and_the_next_one_is_read():
    world = World()
    world.log.append((0, Source.ANOMALIES, b'{"type": "anomaly.v9"}'))
    world.log.append((0, Source.ANOMALIES, b"\xff"))
    world.append(anomaly("opened", 0))
    ignored = metrics.IGNORED.labels("telemetry.anomalies", "undecodable")
    before = ignored._value.get()
    Life(world, OPEN).live()
    assert ignored._value.get() - before == 2
    assert phases(world) == [("open", "raised")]
    assert world.committed == {(Source.ANOMALIES, 0): 3}


def test_in_a_batch_the_end_of_an_anomaly_is_seen_before_the_window_that_says_time_has_passed():
    world = World()
    world.append(anomaly("opened", 0))
    world.append(window(60, 20))
    world.append(anomaly("closed", 40, revision=1))
    Life(world, LONG).live(batch=10)
    assert world.events == []


def test_a_record_of_a_partition_that_was_taken_away_is_left_to_its_new_owner():
    world = World()
    world.append(anomaly("opened", 0))
    life = Life(world, OPEN)
    life.worker.drop([0])
    life.turn(world.uncommitted())
    life.worker.checkpoint()
    assert (world.events, world.committed) == ([], {})


def test_when_a_rule_is_gone_its_alarm_is_cleared_and_people_are_told():
    world = World()
    world.append(anomaly("opened", 0))
    Life(world, OPEN).live()
    Life(world, OTHER).live()
    assert phases(world) == [("open", "raised"), ("open", "cleared")]
    assert world.events[1].cause == "rule removed"
    assert (Channel.LOG, world.events[1].id) in world.told
    Life(world, OTHER).live()
    assert len(world.events) == 2


def test_what_a_full_lane_drops_is_not_sent_after_a_restart_either():
    world = World()
    for n in range(3):
        world.append(anomaly("opened", n, opened_s=n, device=f"pump-{n}", id=f"pump-{n}"))
    life = Life(world, OPEN, webhook=[Outcome.AWAY] * 100, lanes={Channel.WEBHOOK: Lane(limit=2)})
    dropped = metrics.DROPPED.labels("full")
    before = dropped._value.get()
    life.worker.handle(world.uncommitted())
    life.worker.checkpoint()
    assert dropped._value.get() - before == 1
    Life(world, OPEN, lanes={Channel.WEBHOOK: Lane()}).live()
    assert [i for _, i in world.told] == [event.id for event in world.events[1:]]


def test_notifications_for_a_channel_that_was_taken_out_of_the_settings_are_dropped_and_said():
    world = World()
    world.append(anomaly("opened", 0))
    away = Life(world, OPEN, webhook=[Outcome.AWAY] * 100)
    away.turn(world.uncommitted())
    dropped = metrics.DROPPED.labels("not_configured")
    before = dropped._value.get()
    Life(world, OPEN, lanes={Channel.LOG: Lane()}).live()
    assert dropped._value.get() - before == 1
    assert world.in_outboxes() == set()


def test_a_rule_tells_only_the_channels_that_it_names():
    world = World()
    world.append(anomaly("opened", 0))
    Life(world, rules.parse("rules: [{name: r, source: anomalies, when: score > 0.5, channels: [log]}]")).live()
    assert [channel for channel, _ in world.told] == [Channel.LOG]


def test_state_that_cannot_be_read_stops_the_worker_instead_of_forgetting_alarms():
    world = World(states=[StateWrite(0, "acme/pump-1", b'{"type": "alerts-state.v9"}')])
    with pytest.raises(Defect, match="newer Weir"):
        Life(world, OPEN)


def test_the_highest_applied_offset_of_a_partition_is_known_per_source():
    world = World()
    world.append(anomaly("opened", 0))
    life = Life(world, OPEN)
    assert life.worker.applied(0, Source.ANOMALIES) == -1
    life.worker.handle([Record(Source.ANOMALIES, 0, 41, world.log[0][2])])
    assert life.worker.applied(0, Source.ANOMALIES) == 41
    assert life.worker.applied(0, Source.AGGREGATES) == -1
