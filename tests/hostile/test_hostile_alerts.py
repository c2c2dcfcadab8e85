"""Alerts under records that no stream of ours would write, and under more devices than anybody owns."""

import random

import msgspec
import pytest

from schemas.anomaly import Anomaly, AnomalyPhase, Culprit
from schemas.telemetry import Aggregate, Severity
from services.alerts import rules
from services.alerts.rules import Source
from services.alerts.worker import Record
from tests.hostile.hostile_core import RULES
from tests.unit.alerts.alert_fakes import Life, World
from tests.unit.alerts.alert_records import anomaly, window

DAY_S = 86_400
HOT = rules.parse("rules: [{name: hot, source: aggregates, window: 10s, when: mean > 50.0, clear: mean < 40.0}]")
NUMBERS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 20.0, 60.0, 100.0)
TIMES_US = (0, 1, -1, 10**15, 10**15 + 60 * 10**6, 2**53, 2**63 - 1, 2**63, -(2**63), 10**18)
TEXTS = ("", "a", "{device}", "{{", "%s", "\x00", "\n", "é😀", "x" * 5000, "a" * 64, "' || true", '"}')
WIDTHS_US = (10_000_000, 60_000_000, 300_000_000, 0, -1, 1)


def hostile_anomaly(rng: random.Random) -> Anomaly:
    pick = rng.choice
    return Anomaly(
        *(pick(TEXTS), f"a{rng.randrange(4)}", pick((0, 1, 2, 3, -1, 2**62)), pick(list(AnomalyPhase))),
        *("acme", pick(TEXTS), f"d{rng.randrange(5)}", pick(TEXTS), pick(TIMES_US), pick(TIMES_US)),
        *(pick((None, *TIMES_US)), pick(NUMBERS), pick(NUMBERS), pick(list(Severity)), pick(TEXTS)),
        [Culprit(pick(TEXTS), pick(NUMBERS), pick(NUMBERS), pick(NUMBERS), None) for _ in range(rng.randrange(3))],
        pick(TEXTS),
    )


def hostile_window(rng: random.Random) -> Aggregate:
    pick = rng.choice
    return Aggregate(
        *(pick(TEXTS), "acme", pick(TEXTS), f"d{rng.randrange(5)}", pick(TEXTS), pick(TIMES_US), pick(WIDTHS_US)),
        *(pick((0, 1, -1, 2**62)), *(pick(NUMBERS) for _ in range(8)), pick((0, 1, -1, 2**62)), rng.random() < 0.1),
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_record_ends_the_worker_or_raises_a_second_alarm(seed):
    rng, world = random.Random(seed), World()
    for _ in range(600):
        world.append(hostile_anomaly(rng) if rng.random() < 0.5 else hostile_window(rng))
    for junk in (
        b"",
        b"{}",
        b"[",
        b"\xff",
        b'{"type":"anomaly.v1"}',
        b"[" * 100_000,
        b'{"type":"x"}',
        b"null",
        b"9" * 5000,
    ):
        world.log += [(0, Source.ANOMALIES, junk), (0, Source.AGGREGATES, junk)]
    Life(world, rules.parse(RULES)).live(batch=7)
    standing: dict[tuple[str, str], str] = {}
    for event in world.events:
        who = (event.rule, f"{event.tenant}/{event.device}")
        if event.phase == "raised":
            assert who not in standing
            standing[who] = event.alarm
        else:
            assert standing.pop(who) == event.alarm
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
    assert world.events
    # A second life reads all of it again, and has nothing to add.
    before = list(world.events)
    Life(world, rules.parse(RULES)).live(batch=7)
    assert world.events == before


def test_devices_that_were_heard_once_are_forgotten_but_not_their_alarms():
    world = World()
    for number in range(500):
        world.append(window(0, 60 if number == 7 else 20, device=f"d{number}"))
    world.append(anomaly("opened", 5, device="d8"))
    world.append(window(9 * DAY_S, 20, device="still-here"))
    life = Life(world, HOT)
    life.live(batch=100)

    remembered = set(life.worker._shards[0].devices)
    assert remembered == {"acme/d7", "acme/still-here"}
    removed = [write.key for write in world.states if write.value is None]
    assert len(removed) == 499, "what is forgotten is removed from the state topic too"

    world.append(window(9 * DAY_S + 20, 20, device="d7"))
    Life(world, HOT).live()
    assert [(event.device, event.phase) for event in world.events] == [("d7", "raised"), ("d7", "cleared")]


def test_a_device_that_comes_back_after_it_was_forgotten_is_watched_again():
    world = World()
    world.append(window(0, 20))
    world.append(window(9 * DAY_S, 20, device="other"))
    Life(world, HOT).live()
    world.append(window(9 * DAY_S, 60))
    Life(world, HOT).live()
    assert [(event.device, event.phase) for event in world.events] == [("pump-1", "raised")]


def test_an_anomaly_that_opens_and_closes_with_each_message_does_not_pile_up():
    world, text = World(), "rules: [{name: any, source: anomalies, when: score > 0.5}]"
    life = Life(world, rules.parse(text))
    for second in range(2000):
        opened = 2 * second
        for phase, at_s in (("opened", opened), ("closed", opened + 1)):
            world.append(anomaly(phase, at_s, opened_s=opened, revision=int(phase == "closed")))
    for offset, (partition, source, value) in enumerate(world.log):
        life.worker.handle([Record(source, partition, offset, value)])
    assert all(len(lane) <= 50 for lane in life.lanes.values())
    assert max(len(write.value) for write in world.states) < 200_000
    assert len(world.events) == 4000
