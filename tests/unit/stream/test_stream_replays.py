"""A dead letter replayed: what was refused goes through once it can, exactly once; what was stored stays as it is."""

import pytest
from stream_builders import (
    at,
    buried,
    cleaned,
    corrected,
    feed,
    ledgers_add_up,
    message,
    only,
    pipeline,
    raw,
    replay,
)

from schemas import raw as headers
from schemas import topics
from schemas.reasons import Reason
from services.stream.device_types import SensorType
from services.stream.recovery import merge

NARROW = {"flow": SensorType(high=100.0)}


@pytest.mark.parametrize(
    "sent",
    [
        message(1, 7, flow=500.0, gas=5.0),
        message(1, flow=500.0, gas=5.0),
        message(None, 7, received=1, flow=500.0, gas=5.0),
        message(None, received=1, flow=500.0, gas=5.0),
    ],
    ids=["ts and seq", "ts", "seq", "neither"],
)
def test_only_the_formerly_bad_reading_of_a_replayed_message_is_new_and_only_once(sent):
    device = pipeline(types_of_sensors=NARROW)
    first = feed(device, message(0, 6, flow=1.0, gas=1.0), sent, message(2, 8, flow=2.0, gas=6.0))
    (letter,) = only(topics.DEAD_LETTER, first)
    assert (letter.id, letter.reason, letter.sensor) == ("3:1:0", Reason.OUT_OF_RANGE, "flow")

    corrected(device)
    again = replay(sent, letter.id, "0")
    outputs = feed(device, again)
    assert cleaned(outputs) == [{"flow": 500.0}]
    (record,) = only(topics.CLEAN, outputs)
    (before,) = [r for r in only(topics.CLEAN, first) if r.event_us == record.event_us]
    assert (record.event_us, record.seq, record.received_us) == (before.event_us, before.seq, before.received_us)
    assert record.id != before.id
    assert only(topics.SCORES, outputs) == []
    assert cleaned(feed(device, again, again)) == []
    assert (device.totals.decoded, device.totals.redelivered) == (4, 2)
    assert ledgers_add_up(device)


def test_a_replay_before_the_fix_is_refused_again_and_one_after_it_goes_through():
    device = pipeline(types_of_sensors=NARROW)
    sent = message(1, 7, flow=500.0)
    feed(device, sent)
    assert buried(feed(device, replay(sent, "3:0:0", "0"))) == [(Reason.OUT_OF_RANGE, "flow")]
    corrected(device)
    # The two dead letters are of one reading: whichever is replayed, it is stored once.
    assert cleaned(feed(device, replay(sent, "3:0:0", "0"), replay(sent, "3:1:0", "0"))) == [{"flow": 500.0}]
    assert ledgers_add_up(device)


def test_a_replayed_message_of_which_nothing_could_be_used_goes_through_whole_and_once():
    device = pipeline()
    sent = raw({"ts": at(1), "seq": 7, "values": {"flow": 1.0}, "site": "elsewhere"}, received=1)
    outputs = feed(device, sent, message(2, 8, flow=2.0))
    assert buried(outputs) == [(Reason.IDENTITY_MISMATCH, None)]
    moved = sent._replace(headers=sent.headers | {headers.MQTT_TOPIC: b"weir/v1/acme/elsewhere/pump-1/telemetry"})
    again = replay(moved, "3:0:0")
    assert cleaned(feed(device, again, again)) == [{"flow": 1.0}]
    assert ledgers_add_up(device)


def test_a_replay_that_is_still_broken_is_a_dead_letter_again_though_the_broker_marked_it():
    device = pipeline()
    sent = raw(b"{oops", dup=True)
    feed(device, sent)
    assert buried(feed(device, replay(sent, "3:0:0"))) == [(Reason.MALFORMED, None)]
    assert ledgers_add_up(device)


def test_of_a_replayed_array_only_the_named_readings_are_judged_again():
    device = pipeline(types_of_sensors=NARROW)
    elements = [
        {"ts": at(1), "seq": 1, "values": {"flow": 500.0, "gas": 1.0}},
        {"values": 5},
        {"ts": at(2), "seq": 2, "values": {"flow": 600.0, "gas": 2.0}},
    ]
    sent = raw(elements, received=3)
    (one, two, three) = only(topics.DEAD_LETTER, feed(device, sent))
    assert [letter.index for letter in (one, two, three)] == [0, 2, 3]
    corrected(device)
    outputs = feed(device, replay(sent, one.id, "0,3"))
    assert (cleaned(outputs), buried(outputs)) == ([{"flow": 500.0}, {"flow": 600.0}], [])
    assert cleaned(feed(device, replay(sent, one.id, "0"))) == []
    assert ledgers_add_up(device)


def test_a_replay_does_not_restart_the_counter_nor_claim_a_gap():
    device = pipeline(types_of_sensors=NARROW)
    sent = message(3, 3, flow=500.0)
    feed(device, message(1, 1, flow=1.0), message(2, 2, flow=1.0), sent, message(4, 4, flow=1.0))
    corrected(device)
    outputs = feed(device, replay(sent, "3:2:0", "0"), message(5, 5, flow=1.0), message(60, 6, flow=1.0))
    assert only(topics.GAPS, outputs) == []
    assert [record.seq for record in only(topics.CLEAN, outputs)] == [3, 5, 6]


def test_what_was_let_through_is_known_after_a_crash():
    device = pipeline(types_of_sensors=NARROW)
    sent = message(1, 7, flow=500.0)
    feed(device, sent)
    corrected(device)
    again = replay(sent, "3:0:0", "0")
    assert cleaned(feed(device, again)) == [{"flow": 500.0}]
    restored, _ = merge([(change.key, change.value) for change in device.take_changes()])
    restarted = pipeline(types_of_sensors={"flow": SensorType(high=1000.0)}, restored=restored)
    assert cleaned(restarted.process([again._replace(offset=2)])) == []


@pytest.mark.parametrize(("of", "readings"), [("nonsense", None), ("3:0:0", "a,b"), ("", None)])
def test_a_replay_that_says_nothing_of_use_is_a_message_like_any_other(of, readings):
    device = pipeline()
    sent = message(1, 7, flow=1.0)
    assert cleaned(feed(device, sent, replay(sent, of, readings))) == [{"flow": 1.0}]
    assert device.totals.redelivered == 1
