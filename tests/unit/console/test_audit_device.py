"""The audit's core: what is lost, doubled, repeated, late, collided or dead is told apart, from the records alone."""

from __future__ import annotations

import msgspec
import pytest
from audit_world import KEY, World

from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage
from services.console.audit.account import Missing
from services.console.audit.device import Fate
from services.stream.device_types import DeviceType, DeviceTypes, SensorType
from tests.unit.stream.stream_builders import at, command, corrected, message, pipeline, raw, replay


def findings(audit) -> list[tuple]:
    return [(f.missing, f.place, f.seq, f.event_us, f.sensors) for f in audit.account.findings]


def everything():
    """One of each: with and without seq, no clock, arrays, repeats, collisions, late, bad readings, broken messages."""
    return [
        message(0, 1, flow=1.0, gas=2.0),
        message(1, 2, flow=1.5, gas=float("nan")),
        message(1, 2, flow=1.5, gas=float("nan")),
        message(20, flow=3.0, gas=4.0),
        message(20, flow=3.0),
        message(20, flow=9.0, gas=4.0),
        message(None, received=30, flow=1.0),
        message(None, received=31, flow=1.0),
        message(None, received=32, dup=True, flow=1.0),
        message(None, 7, received=33, flow=2.0),
        message(None, 7, received=34, flow=2.0),
        message(10**6, 50, received=35, flow=2.0),
        message(10**6, 50, received=36, flow=2.0),
        message(-7200, 3, received=40, flow=5.0),
        raw(b"{oops", received=41),
        raw(b"{oops", received=42, dup=True),
        raw(b"{oops", received=43),
        raw([{"ts": at(50), "seq": 60, "values": {"flow": 1.0}}, {"values": 3}, {"ts": -5, "flow": 1.0}], received=50),
        raw([{"ts": at(50), "seq": 60, "values": {"flow": 1.0}}, {"ts": at(51), "seq": 61, "flow": 2.0}], received=51),
        raw({"ts": at(60), "seq": 70, "values": {}}, received=60),
        raw({"ts": at(61), "seq": 71, "values": {"flow": 1.0}, "device": "another"}, received=61),
        message(-(10**6), 72, received=62, flow=1.0),
        message(-(10**6), 72, received=63, flow=1.0),
        message(70, 73, site="south", flow=1.0, running=True),
    ]


def test_where_nothing_is_missing_the_account_equals_the_stream_s_own_ledger():
    world = World(*everything())
    account = world.audit().account
    assert account.findings == []
    assert account.ledger == world.stream.totals
    assert min(account.ledger.redelivered, account.ledger.readings_duplicates, len(account.ledger.dead_readings)) > 0
    assert account.points.stored == account.points.written == len(world.points)


@pytest.mark.parametrize("offset", [0, 6, 9, 11, 13, 23])
def test_a_message_that_left_no_record_is_named_with_its_place(offset):
    world = World(*everything())
    lost = world.raw[offset]
    before = len(world.clean)
    received_us = int(lost.headers["received-at"])
    world.clean = [record for record in world.clean if record.received_us != received_us]
    assert len(world.clean) == before - 1
    found = [f for f in findings(world.audit()) if f[0] is Missing.NOT_ON_CLEAN]
    assert [place for _, place, *_ in found] == [f"3:{offset}"]
    assert all(sensors for *_, sensors in found)


def test_a_lost_dead_letter_is_a_lost_message():
    world = World(message(0, 1, flow=1.0), raw(b"{oops", received=1), message(2, 2, flow=2.0))
    world.letters = []
    audit = world.audit()
    assert findings(audit) == [(Missing.NOT_ON_CLEAN, "3:1", None, None, [])]
    assert audit.account.ledger.missing_messages == 1


def test_a_reading_whose_dead_letter_is_lost_is_named_its_neighbours_are_not():
    world = World(message(0, 1, flow=1.0, gas=float("nan"), level=2.0))
    world.letters = []
    audit = world.audit()
    assert findings(audit) == [(Missing.NOT_ON_CLEAN, "3:0", 1, at(0), ["gas"])]
    assert (audit.account.ledger.missing_messages, audit.account.ledger.missing_readings) == (0, 1)


def test_a_lost_first_message_is_not_excused_by_its_redelivery():
    world = World(message(0, 1, flow=1.0), message(0, 1, received=9, dup=True, flow=1.0))
    world.clean = []
    assert [f[:2] for f in findings(world.audit())] == [(Missing.NOT_ON_CLEAN, "3:0")]


def test_a_message_taken_for_a_repeat_that_is_none_is_named():
    world = World(message(10, 5, flow=1.0), message(11, 6, flow=2.0), message(5, 5, flow=3.0))
    assert world.stream.totals.redelivered == 1
    assert findings(world.audit()) == [(Missing.NOT_ON_CLEAN, "3:2", 5, at(5), ["flow"])]


def test_a_restarted_counter_s_lost_message_is_no_repeat_of_its_former_number():
    world = World(message(0, 0, flow=1.0), message(1, 1, flow=2.0), message(60, 0, flow=3.0))
    world.clean.pop()
    assert [f[:3] for f in findings(world.audit())] == [(Missing.NOT_ON_CLEAN, "3:2", 0)]


def test_without_a_clock_only_equal_bytes_are_a_repeat():
    world = World(*(message(None, seq, received=i, flow=float(i)) for i, seq in enumerate([7, 8, 7])))
    world.clean.pop()
    assert [f[:3] for f in findings(world.audit())] == [(Missing.NOT_ON_CLEAN, "3:2", 7)]


def test_a_repeat_does_not_pass_for_its_first_that_retention_removed():
    world = World(message(0, 1, flow=1.0), message(0, 1, received=5, flow=1.0))
    world.raw.pop(0)
    ledger = world.audit(whole_life=False).account.ledger
    assert (ledger.received, ledger.decoded, ledger.redelivered) == (1, 0, 1)


def test_points_that_are_not_in_influxdb_are_named_one_line_a_message():
    world = World(*(message(i, i, flow=float(i), gas=1.0) for i in range(1, 6)))
    for sensor, second in (("flow", 2), ("gas", 2), ("flow", 4)):
        del world.points["north", sensor, at(second) * 1000 + second]
    audit = world.audit()
    assert findings(audit) == [
        (Missing.NOT_IN_INFLUXDB, "3:1", 2, at(2), ["flow", "gas"]),
        (Missing.NOT_IN_INFLUXDB, "3:3", 4, at(4), ["flow"]),
    ]
    assert (audit.account.points.written, audit.account.points.stored) == (10, 7)


def test_a_point_with_another_value_is_named():
    world = World(message(1, 1, flow=1.0))
    world.points["north", "flow", at(1) * 1000 + 1] = 1.5
    assert findings(world.audit()) == [(Missing.OTHER_VALUE, "3:0", 1, at(1), ["flow"])]


def test_two_readings_that_share_a_point_are_one_reading_lost():
    world = World(message(1, 1, flow=1.0), message(1, 1001, flow=2.0))
    assert [f[0] for f in findings(world.audit())] == [Missing.OVERWRITTEN]


def test_a_point_that_no_record_explains_is_kept_for_a_second_look():
    world = World(message(1, 1, flow=1.0), message(3, 2, flow=1.0))
    world.points["north", "flow", at(2) * 1000] = 7.0
    world.points["north", "flow", at(7200) * 1000] = 7.0
    assert world.audit().extras == [(("north", "flow"), at(2) * 1000, 7.0)]


def test_a_clean_record_of_no_message_is_named_where_the_whole_log_is_there():
    world = World(message(1, 1, flow=1.0), message(2, 2, flow=2.0))
    world.raw.pop()
    assert [f[0] for f in findings(world.audit())] == [Missing.NO_MESSAGE]
    assert findings(world.audit(whole_life=False)) == []


def test_repeats_after_a_crash_count_once_and_are_counted():
    world = World(*everything())
    world.clean += world.clean
    world.letters += world.letters
    account = world.audit().account
    assert (account.findings, account.ledger) == ([], world.stream.totals)
    assert account.points.repeats == len(world.clean) // 2
    assert account.points.stored == len(world.points)


def refused(offset: int, sensor: str | None) -> DeadLetter:
    about = {"mqtt_topic": "", "topic": "telemetry.clean", "partition": 3, "offset": offset, "index": 0}
    told = {"detail": "", "payload": b"", "size": 0, "received_us": 0, "sensor": sensor}
    return DeadLetter(f"telemetry.clean:3:{offset}:0", Reason.SINK_REFUSED, Stage.SINK, **about, **told)


@pytest.mark.parametrize("offset", [0, 1], ids=["of the record", "of its repeat"])
def test_what_influxdb_refused_is_in_the_dead_letter_and_no_loss(offset):
    world = World(message(1, 1, flow=1.0, gas=1.0))
    world.clean *= 2
    world.letters = [refused(offset, "flow")]
    del world.points["north", "flow", at(1) * 1000 + 1]
    account = world.audit().account
    assert (account.findings, account.points.refused, account.points.stored) == ([], 1, 1)


def test_what_the_sink_or_the_stream_had_not_committed_is_in_flight_and_no_loss():
    world = World(*(message(i, i, flow=1.0) for i in range(4)))
    world.points = {key: value for key, value in world.points.items() if key[2] < at(2) * 1000}
    world.clean.pop()
    account = world.audit(
        fate_of_clean=lambda offset: Fate.IN_FLIGHT if offset >= 2 else Fate.JUDGED,
        fate_of_raw=lambda offset: Fate.IN_FLIGHT if offset >= 3 else Fate.JUDGED,
    ).account
    assert account.findings == []
    assert (account.ledger.received, account.messages_in_flight, account.points.in_flight) == (3, 1, 1)


def test_what_came_before_the_range_is_not_judged_but_its_repeats_are_recognised():
    world = World(message(0, 1, flow=1.0), message(0, 1, received=5, flow=1.0), message(1, 2, flow=1.0))
    world.points = {key: value for key, value in world.points.items() if key[2] >= at(1) * 1000}
    before = {
        "fate_of_clean": lambda offset: Fate.OUTSIDE if offset == 0 else Fate.JUDGED,
        "fate_of_raw": lambda offset: Fate.OUTSIDE if offset == 0 else Fate.JUDGED,
    }
    account = world.audit(**before, whole_life=False).account
    assert account.findings == []
    assert (account.ledger.received, account.ledger.redelivered, account.points.written) == (2, 1, 1)


def test_a_repeat_of_a_message_long_before_the_range_is_excused_by_its_clean_record_only():
    world = World(message(0, 1, flow=1.0), message(0, 1, received=5, flow=1.0))
    old, world.clean = world.clean[0].id, []
    world.raw.pop(0)
    assert len(world.audit().account.findings) == 1
    account = world.audit(known={old}).account
    assert (account.findings, account.ledger.redelivered) == ([], 1)


def test_a_replayed_dead_letter_is_received_again_and_everything_adds_up():
    stream = pipeline(types_of_sensors={"flow": SensorType(high=100.0)})
    bad = message(1, 7, flow=500.0, gas=5.0)
    broken = raw({"seq": 8, "ts": at(2), "values": {"flow": 1.0}, "device": "another"}, received=2)
    world = World(message(0, 6, flow=1.0), bad, broken, replay(bad, "3:1:0", "0"), stream=stream)
    corrected(stream)
    marker = msgspec.structs.replace(world.letters[0], payload=b"", replayed_us=1)
    world.send(replay(bad, "3:1:0", "0"), replay(bad, "3:3:0", "0"), replay(broken, "3:2:0"))
    world.letters.append(marker)
    account = world.audit().account
    assert (account.findings, account.ledger, account.replayed) == ([], stream.totals, 4)
    assert account.ledger.dead_readings == {"out_of_range": 2}
    world.clean = [record for record in world.clean if record.values != {"flow": 500.0}]
    assert [f[1] for f in findings(world.audit()) if f[0] is Missing.NOT_ON_CLEAN] == ["3:4", "3:5"]


def test_late_readings_that_the_type_refuses_are_dead_letters():
    world = World(message(7200, 2, flow=1.0), message(0, 1, flow=1.0), stream=pipeline(accept_late=False))
    account = world.audit().account
    assert (account.findings, account.ledger.dead_readings) == ([], {"late": 1})
    assert account.ledger == world.stream.totals


def test_a_device_over_its_tenant_s_budget_is_in_the_dead_letter():
    stream = pipeline(devices=1)
    stream.process([message(0, 1, device="other", flow=1.0)])
    account = World(message(0, 1, flow=1.0), message(1, 2, flow=1.0), stream=stream).audit().account
    assert (account.findings, account.ledger.dead_messages) == ([], {"device_budget": 2})


def test_devices_types_are_not_needed_to_audit():
    types = DeviceTypes({"generic": DeviceType(sensors={"running": SensorType(boolean=True)})}, [])
    world = World(message(0, 1, running=True), stream=pipeline(types_of_sensors=types.of(KEY).sensors))
    assert world.audit().account.findings == []
    world.clean = []
    assert findings(world.audit())[0][-1] == ["running"]


def test_an_operator_s_commands_are_no_messages_and_the_account_balances():
    orders = [
        command({"command": "pause"}, received=72),
        command({"command": "explode"}, received=73),
        command({"command": "resume"}, received=75),
    ]
    world = World(*everything(), *orders, message(80, 90, flow=1.0))
    account = world.audit().account
    assert account.findings == []
    assert account.ledger == world.stream.totals
    assert account.ledger.received == len(everything()) + 1
    assert [letter.detail[:19] for letter in world.letters][-1] == "no operator command"
