"""Devices: a tenant's budget, who is forgotten for whom, and what the state topic holds of it."""

import heapq
import random

from stream_builders import (
    DAY_S,
    StateTopic,
    at,
    buried,
    bytes_of,
    cleaned,
    feed,
    ledgers_add_up,
    log,
    message,
    only,
    pipeline,
)

from schemas import topics
from schemas.reasons import Reason
from services.stream import device_table

WEEK_S = 7 * DAY_S


def hello(device: int, day: float = 0.0, seq: int | None = None, tenant: str = "acme"):
    """Device number `device` sends a reading."""
    return message(day * DAY_S, seq, device=f"pump-{device:06}", tenant=tenant, flow=1.0)


def test_one_device_too_many_is_refused_by_name_and_costs_the_others_nothing():
    partition = pipeline(devices=2)
    outputs = feed(partition, hello(1), hello(2), hello(3), hello(1, 0.1))
    assert len(cleaned(outputs)) == 3
    (letter,) = only(topics.DEAD_LETTER, outputs)
    assert (letter.reason, letter.device, letter.site, letter.sensor) == (
        Reason.DEVICE_BUDGET,
        "pump-000003",
        "north",
        None,
    )
    assert {output.key for output in outputs if output.topic == topics.DEAD_LETTER} == {b"acme/pump-000003"}
    assert ledgers_add_up(partition)


def test_each_tenant_has_a_budget_of_its_own():
    partition = pipeline(devices=1)
    outputs = feed(partition, hello(1), hello(2), hello(1, tenant="other"), hello(2, tenant="other"))
    assert [(letter.tenant, letter.device) for letter in only(topics.DEAD_LETTER, outputs)] == [
        ("acme", "pump-000002"), ("other", "pump-000002"),
    ]  # fmt: skip


def test_a_refused_device_that_repeats_itself_is_counted_once():
    partition = pipeline(devices=1)
    feed(partition, hello(1), hello(2), hello(3))
    again = hello(2)._replace(headers=hello(2).headers | {"mqtt-dup": b"1"})
    assert feed(partition, again) == []
    assert partition.totals.redelivered == 1
    assert ledgers_add_up(partition)


def test_who_was_silent_for_more_than_a_week_makes_room():
    partition = pipeline(devices=2)
    feed(partition, hello(1), hello(2, 1))
    assert buried(feed(partition, hello(3, 6.9))) == [(Reason.DEVICE_BUDGET, None)]
    assert buried(feed(partition, hello(3, 7.1))) == []
    assert buried(feed(partition, hello(4, 7.2))) == [(Reason.DEVICE_BUDGET, None)]
    assert len(partition) == 3  # two devices, and the tenant's overflow


def test_a_forgotten_device_starts_anew_and_its_counts_remain():
    partition = pipeline(devices=1)
    feed(partition, hello(1, 0, seq=5), hello(2, 8))
    outputs = feed(partition, hello(1, 16, seq=9))
    assert len(cleaned(outputs)) == 1
    assert only(topics.GAPS, outputs) == []
    assert partition.totals.received == 3
    assert ledgers_add_up(partition)


def test_the_longest_silent_are_forgotten_first_and_only_so_many_at_once():
    many = device_table.FORGOTTEN_AT_ONCE + 10
    partition = pipeline(devices=many)
    feed(partition, *(hello(i, i / many) for i in range(many)))
    feed(partition, hello(999_999, 30))
    state = StateTopic()
    state.checkpoint(partition)
    kept = sorted(state.last())
    assert kept == [b"acme/$", *(b"acme/pump-%06d" % i for i in range(many - 10, many)), b"acme/pump-999999"]


def test_a_forgotten_device_leaves_the_state_topic_with_its_pages_and_totals_stay():
    partition, state = pipeline(devices=1), StateTopic()
    feed(partition, *(message(second, second, device="old", flow=1.0) for second in range(0, 400, 5)))
    state.checkpoint(partition)
    assert any(key.startswith(b"acme/old|") for key in state.last())
    feed(partition, hello(1, 8))
    state.checkpoint(partition)
    assert not [key for key in state.last() if key.startswith(b"acme/old")]
    restored = pipeline(devices=1, restored=state.read())
    assert restored.totals == partition.totals
    assert len(restored) == len(partition) == 2


def test_a_kill_between_forgetting_and_removal_counts_nobody_twice():
    partition, state = pipeline(devices=1), StateTopic()
    feed(partition, hello(1))
    state.checkpoint(partition)
    feed(partition, hello(2, 8))
    state.records += [(change.key, change.value) for change in partition.take_changes()]
    restored = pipeline(devices=1, restored=state.read())
    assert restored.totals == partition.totals


def test_who_comes_back_before_the_next_checkpoint_is_not_removed_from_the_topic():
    partition, state = pipeline(devices=1), StateTopic()
    feed(partition, hello(1), hello(2, 8), hello(1, 16))
    state.checkpoint(partition)
    assert sorted(state.last()) == [b"acme/$", b"acme/pump-000001"]


def test_who_is_forgotten_does_not_depend_on_when_the_worker_started():
    days = [0.0, 0.5, 6.0, 7.01, 7.02, 7.3, 7.51, 7.6, 8.0, 14.0, 14.1, 15.0, 15.5, 16.0]
    records = log(hello(i if i < 6 else i % 5, day) for i, day in enumerate(days))
    uncut = pipeline(devices=2)
    expected = bytes_of(uncut.process(records))
    assert {reason for reason, _ in buried(pipeline(devices=2).process(records))} == {Reason.DEVICE_BUDGET}
    state, outputs = StateTopic(), []
    for i, record in enumerate(records):
        worker = pipeline(devices=2, restored=state.read())
        outputs += bytes_of(worker.process([record]))
        state.checkpoint(worker)
        assert worker.totals.received == i + 1
    assert outputs == expected


def test_a_flood_of_invented_names_is_refused_at_little_cost(monkeypatch):
    searched = []
    nsmallest = heapq.nsmallest

    def counted(count, devices):
        searched.append(count)
        return nsmallest(count, devices)

    monkeypatch.setattr(heapq, "nsmallest", counted)
    partition = pipeline(devices=1000, devices_in_all=2000)
    feed(partition, *(hello(i) for i in range(1000)))
    state = StateTopic()
    state.checkpoint(partition)
    for i in range(20):
        outputs = feed(partition, *(hello(1000 + 1000 * i + n, i / 10) for n in range(1000)))
        assert {output.topic for output in outputs} <= {topics.DEAD_LETTER, topics.LEDGERS}
        assert len(buried(outputs)) == 1000
        assert len(partition) == 1001
        assert [change.key for change in partition.take_changes()] == [b"acme/$"]
    assert len(searched) == 1
    assert ledgers_add_up(partition)
    assert partition.totals.dead_messages == {"device_budget": 20_000}


def tenants(count: int, first: int = 0, day: float = 0.0) -> list:
    """A device of each of so many tenants."""
    return [hello(1, day + i / 1e6, tenant=f"tenant-{first + i:05}") for i in range(count)]


def test_a_partition_has_a_budget_whoever_the_devices_are_and_those_known_go_on():
    partition = pipeline(devices_in_all=3)
    outputs = feed(partition, *tenants(5), *tenants(3))
    letters = only(topics.DEAD_LETTER, outputs)
    assert [(letter.reason, letter.tenant) for letter in letters] == [
        (Reason.DEVICE_BUDGET, "tenant-00003"),
        (Reason.DEVICE_BUDGET, "tenant-00004"),
    ]
    assert {letter.detail for letter in letters} == {"the partition has 3 devices already"}
    assert [output.key for output in outputs if output.topic == topics.DEAD_LETTER] == [
        b"tenant-00003/pump-000001", b"tenant-00004/pump-000001",
    ]  # fmt: skip
    assert partition.totals.decoded == 3
    assert partition.totals.redelivered == 3
    assert ledgers_add_up(partition)


def test_invented_tenants_leave_nothing_but_one_count():
    partition, state = pipeline(devices=2, devices_in_all=20), StateTopic()
    for n in range(20):
        feed(partition, *tenants(100, first=100 * n))
        state.checkpoint(partition)
        assert len(partition) <= 21
    table = partition._devices
    assert len(table._per_tenant) <= 20
    assert len(table._next_idle_us) <= 21
    assert len(state.last()) <= 21
    assert partition.totals.dead_messages == {"device_budget": 1980}
    assert ledgers_add_up(partition)


def test_a_full_partition_forgets_the_longest_silent_of_whatever_tenant_and_its_counts_remain():
    partition, state = pipeline(devices=2, devices_in_all=4), StateTopic()
    feed(partition, *tenants(3), hello(9, 6))
    assert len(buried(feed(partition, *tenants(1, first=50, day=6.5)))) == 1
    state.checkpoint(partition)
    assert len(cleaned(feed(partition, *tenants(1, first=51, day=7.5)))) == 1
    state.checkpoint(partition)
    assert sorted(state.last()) == [b"$/$", b"acme/pump-000009", b"tenant-00051/pump-000001"]
    assert partition._devices._per_tenant.keys() == {"acme", "tenant-00051"}
    assert partition.totals.received == 6
    assert pipeline(restored=state.read()).totals == partition.totals


def test_the_count_of_a_tenants_refused_devices_is_forgotten_too_when_the_room_is_needed():
    partition, state = pipeline(devices=1, devices_in_all=2), StateTopic()
    feed(partition, hello(1), hello(2))
    feed(partition, *tenants(2, day=8))
    state.checkpoint(partition)
    assert sorted(state.last()) == [b"$/$", b"tenant-00000/pump-000001", b"tenant-00001/pump-000001"]
    assert partition.totals.received == 4
    assert ledgers_add_up(partition)


def test_who_is_forgotten_in_a_full_partition_does_not_depend_on_when_the_worker_started():
    numbers = random.Random(6)
    days = [day / 4 for day in range(80)]
    records = log(hello(numbers.randrange(3), day, tenant=f"t{numbers.randrange(5)}") for day in days)
    uncut = pipeline(devices=2, devices_in_all=4)
    expected = bytes_of(uncut.process(records))
    state, outputs = StateTopic(), []
    for record in records:
        worker = pipeline(devices=2, devices_in_all=4, restored=state.read())
        outputs += bytes_of(worker.process([record]))
        state.checkpoint(worker)
    assert outputs == expected
    assert worker.totals == uncut.totals
    assert len(buried(pipeline(devices=2, devices_in_all=4).process(records))) > 10


def names(device: int, *sensors: str, day: float = 0.0, tenant: str = "acme"):
    return message(day * DAY_S, device=f"pump-{device}", tenant=tenant, **dict.fromkeys(sensors, 1.0))


def test_a_tenant_has_so_many_sensors_and_a_partition_has_and_those_known_go_on():
    partition = pipeline(sensors_of_tenant=3, sensors_in_all=5)
    outputs = feed(
        partition, names(1, "a", "b"), names(2, "a", "b"), names(1, "a", "b", day=0.1),
        names(1, "a", "b", "c", tenant="other"), names(1, "a", tenant="third"),
    )  # fmt: skip
    letters = only(topics.DEAD_LETTER, outputs)
    assert [(letter.reason, letter.tenant, letter.sensor, letter.detail) for letter in letters] == [
        (Reason.SENSOR_BUDGET, "acme", "b", "the tenant's devices have 3 sensors already"),
        (Reason.SENSOR_BUDGET, "other", "c", "the partition's devices have 5 sensors already"),
        (Reason.SENSOR_BUDGET, "third", "a", "the partition's devices have 5 sensors already"),
    ]
    assert partition.totals.readings_stored == 7
    assert ledgers_add_up(partition)


def test_sensors_are_counted_on_through_a_restart_and_a_forgotten_devices_are_free_again():
    partition, state = pipeline(devices=2, sensors_of_tenant=3), StateTopic()
    feed(partition, names(1, "a", "b"), names(2, "a", day=6))
    state.checkpoint(partition)
    restored = pipeline(devices=2, sensors_of_tenant=3, restored=state.read())
    outputs = restored.process(log([names(2, "a", "b", day=6.1), names(3, "a", "b", "c", day=8)], start=2))
    assert buried(outputs) == [(Reason.SENSOR_BUDGET, "b"), (Reason.SENSOR_BUDGET, "c")]


def test_a_silent_device_that_has_shown_all_costs_no_more_than_a_look(monkeypatch):
    partition = pipeline()
    feed(partition, hello(1), hello(2))
    shown = partition.idle_windows(at(400), at(400))
    assert len(shown) == 6
    asked = []
    monkeypatch.setattr("services.stream.windows.DeviceWindows.still_open", lambda *told: asked.append(told) or [])
    partition.idle_windows(at(500), at(500))
    assert asked == []


def test_a_device_is_read_from_the_state_only_when_it_speaks():
    partition, state = pipeline(), StateTopic()
    feed(partition, *(hello(i) for i in range(20)))
    state.checkpoint(partition)
    restored = pipeline(restored=state.read())
    assert len(restored) == 20
    restored.process(log([hello(7, 0.1)], start=20))
    devices = [change.key for change in restored.take_changes() if b"|" not in change.key]
    assert devices == [b"acme/pump-000007"]


def test_a_state_that_a_frozen_worker_overwrote_is_written_again():
    partition, state = pipeline(), StateTopic()
    feed(partition, message(0, 0, flow=1.0))
    state.checkpoint(partition)
    old = list(state.records)
    feed(partition, *(message(second, second, flow=1.0) for second in range(1, 40)))
    state.checkpoint(partition)
    newest = state.last()
    state.records += old
    restored = pipeline(restored=state.read())
    assert {change.key for change in restored.take_changes()} >= {b"acme/pump-1"}
    assert state.last() == newest


def test_devices_that_are_shown_silent_are_those_silent_since():
    partition = pipeline()
    feed(partition, hello(1), hello(2, 0.001))
    shown = partition.idle_windows(received_before_us=at(50), ended_before_us=at(50))
    assert {window.device for window in only(topics.AGGREGATES, shown)} == {"pump-000001"}
