"""A device's ledger as a record: when it is published, what it says, and under which id."""

from stream_builders import (
    DAY_S,
    StateTopic,
    at,
    bytes_of,
    feed,
    log,
    message,
    only,
    pipeline,
    raw,
)

from schemas import topics
from services.stream.device import LEDGER_SLOT_US

SLOT_S = LEDGER_SLOT_US // 1_000_000


def ledgers(outputs) -> list:
    return only(topics.LEDGERS, outputs)


def test_the_first_message_of_another_slot_publishes_the_ledger_as_it_stood_before():
    device = pipeline()
    before = feed(
        device, message(1, 1, flow=1.0), message(1, 1, flow=1.0), raw(b"{", received=2), message(3, 2, no=[1])
    )
    outputs = feed(device, message(SLOT_S, 3, flow=1.0), message(SLOT_S + 1, 4, flow=1.0))
    assert ledgers(before) == []
    (ledger,) = ledgers(outputs)
    assert (ledger.tenant, ledger.site, ledger.device) == ("acme", "north", "pump-1")
    assert ledger.received_us == at(3.002)
    assert (ledger.received, ledger.decoded, ledger.redelivered) == (4, 2, 1)
    assert (ledger.dead_messages, ledger.dead_readings) == ({"malformed": 1}, {"not_a_number": 1})
    assert (ledger.readings_decoded, ledger.readings_stored, ledger.readings_duplicates) == (2, 1, 0)
    assert (ledger.missing_messages, ledger.missing_readings) == (0, 0)
    assert [output.key for output in outputs if output.topic == topics.LEDGERS] == [b"acme/pump-1"]


def test_a_slot_is_one_of_received_time_and_each_is_told_once():
    device = pipeline()
    seconds = [SLOT_S * 2 - 1, 10, SLOT_S * 2, SLOT_S * 2 + 1, SLOT_S * 3 - 1, SLOT_S * 9]
    outputs = feed(device, *(message(5, n, received=second, flow=1.0) for n, second in enumerate(seconds)))
    assert [ledger.received for ledger in ledgers(outputs)] == [2, 5]


def test_a_ledger_says_what_stood_then_whatever_comes_after_it_in_the_batch():
    whole, single = pipeline(), pipeline()
    records = log(raw(b"{", received=SLOT_S * n) for n in range(4))
    expected = [output for record in records for output in bytes_of(single.process([record]))]
    assert bytes_of(whole.process(records)) == expected
    assert len(ledgers(pipeline().process(records))) == 3


def test_a_silent_device_shows_its_ledger_once_and_its_next_message_the_same_one_again():
    device = pipeline()
    feed(device, message(1, 1, flow=1.0), message(2, 2, flow=1.0))
    assert device.idle_ledgers(at(2)) == []
    shown = device.idle_ledgers(at(20))
    assert [ledger.received for ledger in ledgers(shown)] == [2]
    assert device.idle_ledgers(at(40)) == []
    again = [o for o in feed(device, message(SLOT_S, 3, flow=1.0)) if o.topic == topics.LEDGERS]
    assert bytes_of(again) == bytes_of(shown)
    assert [ledger.received for ledger in ledgers(device.idle_ledgers(at(SLOT_S + 20)))] == [3]


def test_showing_a_ledger_changes_no_state():
    device, shown = pipeline(), pipeline()
    for of in (device, shown):
        feed(of, message(1, 1, flow=1.0))
    shown.idle_ledgers(at(100))
    states = []
    for of in (device, shown):
        feed(of, message(2, 2, flow=1.0))
        state = StateTopic()
        state.checkpoint(of)
        states.append(state.last())
    assert states[0] == states[1]


def test_after_a_takeover_a_silent_devices_ledger_is_shown_again_under_the_same_id():
    device, state = pipeline(), StateTopic()
    feed(device, message(1, 1, flow=1.0))
    shown = device.idle_ledgers(at(30))
    state.checkpoint(device)
    successor = pipeline(restored=state.read())
    assert bytes_of(successor.idle_ledgers(at(40))) == bytes_of(shown)


def test_what_has_no_device_is_counted_under_a_name_that_no_device_can_have_and_per_partition():
    partition = pipeline(devices=1)
    stranger = raw(b"{}", received=1, key=b"$/$")
    feed(partition, message(0, flow=1.0), message(1, device="pump-2", flow=1.0), stranger)
    shown = ledgers(partition.idle_ledgers(at(60)))
    assert [(ledger.tenant, ledger.site, ledger.device) for ledger in shown] == [
        ("acme", "north", "pump-1"),
        ("acme", "$3", "$"),
        ("$", "$3", "$"),
    ]
    assert {ledger.id.split(":")[0] for ledger in shown} == {"3"}
    assert sum(ledger.received for ledger in shown) == 3


def test_the_ledgers_of_all_devices_add_up_to_the_partitions_also_when_one_was_forgotten():
    partition = pipeline(devices=1)
    feed(partition, message(0, 1, device="old", flow=1.0), message(8 * DAY_S, 1, device="new", flow=1.0))
    shown = ledgers(partition.idle_ledgers(at(9 * DAY_S)))
    assert {ledger.device: ledger.received for ledger in shown} == {"$": 1, "new": 1}
    assert partition.totals.received == 2


def test_a_message_without_a_received_time_is_counted_and_moves_no_slot():
    device = pipeline()
    nameless = raw({"flow": 1.0}, extra={"received-at": b"never"})
    assert ledgers(feed(device, nameless, nameless)) == []
    assert device.idle_ledgers(at(10**6)) == []
    outputs = feed(device, message(5, flow=1.0), message(SLOT_S, flow=1.0))
    assert [ledger.received for ledger in ledgers(outputs)] == [3]
