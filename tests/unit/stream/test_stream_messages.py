"""Messages: repeats, arrays, claims, sequence gaps, and what is told of each."""

import pytest
from stream_builders import (
    NOON_US,
    at,
    buried,
    cleaned,
    feed,
    ledgers_add_up,
    log,
    message,
    only,
    outputs_of,
    pipeline,
    raw,
)

from schemas import raw as headers
from schemas import topics
from schemas.reasons import Reason, Stage
from schemas.telemetry import GapPhase, TimeSource
from services.runtime.errors import ConfigurationError
from services.runtime.routes import Kind, Route, Routes
from services.stream.device_types import DeviceTypes
from services.stream.elements import MOST_READINGS
from services.stream.pipeline import PartitionPipeline


def gaps(outputs) -> list[tuple[GapPhase, int, int, int]]:
    return [(gap.phase, gap.epoch, gap.first_seq, gap.last_seq) for gap in only(topics.GAPS, outputs)]


# ------------------------------------------------------------------------------------------------ a message, in and out


def test_a_good_message_becomes_a_clean_record_and_a_score_with_one_identity():
    outputs = outputs_of(message(5, 17, flow=20.0, gas=5))
    (clean,), (score,) = only(topics.CLEAN, outputs), only(topics.SCORES, outputs)
    assert (clean.tenant, clean.site, clean.device, clean.device_type) == ("acme", "north", "pump-1", "generic")
    assert (clean.event_us, clean.received_us, clean.sent_ts, clean.seq) == (at(5), at(5.002), at(5), 17)
    assert (clean.values, clean.time_source, clean.late) == ({"flow": 20.0, "gas": 5.0}, TimeSource.DEVICE, False)
    assert clean.id == score.id == f"acme/pump-1:{at(5)}:17:0"
    assert (score.state, score.score, score.severity) == ("learning", 0.0, "none")
    assert {output.key for output in outputs} == {b"acme/pump-1"}


def test_the_identity_is_made_of_the_time_as_sent_never_of_a_repaired_one():
    ahead = outputs_of(message(10 * 86_400, 1, received=0, flow=1.0))
    (clean,) = only(topics.CLEAN, ahead)
    assert (clean.event_us, clean.time_source) == (NOON_US, TimeSource.RECEIVED_AHEAD)
    assert (clean.id, clean.sent_ts) == (f"acme/pump-1:{at(10 * 86_400)}:@3:0:0", at(10 * 86_400))


def test_without_a_clock_of_its_own_a_restarted_counter_gives_no_two_readings_one_identity():
    outputs = outputs_of(*(message(None, seq, received=i, flow=float(i)) for i, seq in enumerate([0, 1, 0, 1])))
    assert len({clean.id for clean in only(topics.CLEAN, outputs)}) == len(cleaned(outputs)) == 4


def test_a_message_without_readings_is_taken_and_its_seq_counts():
    device = pipeline()
    outputs = feed(device, message(0, 1, flow=1.0), raw({"ts": at(1), "seq": 2, "values": {}}, received=1))
    outputs += feed(device, message(2, 3, flow=1.0), message(60, 4, flow=1.0))
    assert buried(outputs) == []
    assert gaps(outputs) == []


def test_a_device_that_moves_to_another_site_takes_its_state_along():
    device = pipeline()
    outputs = feed(
        device, message(0, 1, flow=1.0), message(1, 2, site="south", flow=2.0), message(30, 3, site="south", flow=3.0)
    )
    assert [clean.site for clean in only(topics.CLEAN, outputs)] == ["north", "south", "south"]
    (window,) = only(topics.AGGREGATES, outputs)
    assert (window.site, window.count) == ("south", 2)


def test_a_device_that_was_at_another_site_is_placed_again_when_it_is_back():
    back = [message(0, 1, flow=1.0), message(1, 2, site="south", flow=2.0), message(2, 3, flow=3.0)]
    assert [clean.site for clean in only(topics.CLEAN, outputs_of(*back))] == ["north", "south", "north"]
    refused = raw(b"", site="south", received=1.0, extra={headers.REJECT: b"too_large"})
    outputs = outputs_of(back[0], refused, back[2])
    assert buried(outputs) == [(Reason.TOO_LARGE, None)]
    assert [clean.site for clean in only(topics.CLEAN, outputs)] == ["north", "north"]


def test_a_known_topic_saves_no_message_from_a_refusal():
    good = message(0, 1, flow=1.0)
    timeless = message(1, 2, flow=2.0)._replace(headers={headers.MQTT_TOPIC: good.headers[headers.MQTT_TOPIC]})
    cut = raw(b"{", received=2.0, extra={headers.REJECT: b"too_large"})
    anothers = message(3, 3, flow=3.0, device="pump-2")._replace(key=good.key)
    outputs = outputs_of(good, timeless, message(1, 2, flow=2.0), cut, message(4, 3, flow=4.0), anothers)
    assert [reason for reason, _ in buried(outputs)] == [Reason.WRONG_SHAPE, Reason.TOO_LARGE, Reason.UNROUTABLE]
    assert cleaned(outputs) == [{"flow": 1.0}, {"flow": 2.0}, {"flow": 4.0}]


# ------------------------------------------------------------------------------------------------------------ repeats


def counts(of) -> tuple[int, int, int]:
    return of.totals.decoded, of.totals.redelivered, sum(of.totals.dead_messages.values())


@pytest.mark.parametrize(
    "record",
    [
        message(0, 7, flow=1.0),
        message(None, 7, flow=1.0),
        message(0, flow=1.0),
        message(10**6, 7, received=0, flow=1.0),
    ],
    ids=["ts and seq", "seq", "ts", "seq, clock ahead"],
)
@pytest.mark.parametrize("marked", [False, True])
def test_the_same_message_again_is_a_repeat(record, marked):
    device = pipeline()
    again = record._replace(headers=record.headers | {headers.MQTT_DUP: b"1" if marked else b"0"})
    later = again._replace(headers=again.headers | {headers.RECEIVED_AT: b"%d" % at(3)})
    assert len(cleaned(feed(device, record, again, later))) == 1
    assert counts(device) == (1, 2, 0)


@pytest.mark.parametrize("payload", [{"flow": 1.0}, {"flow": 1.0, "ts": 0}, {"flow": 1.0, "ts": 12.5}])
def test_without_a_time_equal_bytes_are_a_repeat_only_when_the_broker_says_so(payload):
    device = pipeline()
    feed(device, raw(payload, received=1), raw(payload, received=2), raw(payload, received=3))
    assert counts(device) == (3, 0, 0)
    feed(device, raw(payload, received=3, dup=True))
    assert counts(device) == (3, 1, 0)


def test_what_the_broker_calls_a_repeat_but_was_never_seen_is_new():
    device = pipeline()
    assert len(cleaned(feed(device, message(None, dup=True, flow=1.0), message(1, 1, dup=True, flow=2.0)))) == 2


@pytest.mark.parametrize("payload", [b"no json", b"\xff", b"[1]"])
def test_a_broken_message_that_the_broker_sends_again_is_buried_once(payload):
    device = pipeline()
    feed(device, raw(payload), raw(payload, dup=True), raw(payload, dup=True))
    assert counts(device) == (0, 2, 1)
    feed(device, raw(payload))
    assert counts(device) == (0, 2, 2)


def test_a_bad_time_under_a_number_that_was_used_is_a_dead_letter_all_the_same():
    # Without a time the number alone is no identity: what came with it before was another message.
    device, bad = pipeline(), {"ts": -5, "seq": 1, "flow": 2}
    feed(device, message(0, 1, flow=1.0), raw(bad), raw(bad, dup=True))
    assert counts(device) == (1, 1, 1)


def test_a_bad_time_again_is_a_repeat_not_a_second_dead_letter():
    device = pipeline()
    feed(device, raw({"ts": -5, "seq": 1, "flow": 1}), raw({"ts": -5, "seq": 1, "flow": 1}))
    feed(device, raw({"ts": -5, "flow": 1}), raw({"ts": -5, "flow": 1}))
    assert counts(device) == (0, 2, 2)


def test_broken_messages_of_two_unplaced_topics_are_two_although_their_bytes_are_equal():
    one, other = (
        raw(b"x", key=topics.UNPLACED_KEY, extra={headers.MQTT_TOPIC: topic, headers.MQTT_DUP: b"1"})
        for topic in (b"some/where", b"else/where")
    )
    partition = pipeline()
    feed(partition, one, other)
    assert counts(partition) == (0, 0, 2)
    feed(partition, one, other)
    assert counts(partition) == (0, 2, 2)


# ------------------------------------------------------------------------------------------------------------- arrays


def moment(second: float, seq: int | None = None, **values) -> dict:
    return {"ts": at(second), "values": values} | ({} if seq is None else {"seq": seq})


def test_an_array_is_one_clean_record_for_each_moment():
    outputs = outputs_of(
        raw([moment(0, 1, flow=1.0), moment(1, 2, flow=2.0, gas=1.0), moment(2, 3, gas=2.0)], received=3)
    )
    assert cleaned(outputs) == [{"flow": 1.0}, {"flow": 2.0, "gas": 1.0}, {"gas": 2.0}]
    ids = [clean.id.rpartition(":")[2] for clean in only(topics.CLEAN, outputs)]
    assert ids == ["0", "1", "2"]


def test_an_array_that_overlaps_an_earlier_one_brings_only_what_is_new():
    device = pipeline()
    feed(device, raw([moment(0, 1, flow=1.0), moment(1, 2, flow=2.0)], received=3))
    outputs = feed(device, raw([moment(1, 2, flow=2.0), moment(2, 3, flow=3.0)], received=4))
    assert cleaned(outputs) == [{"flow": 3.0}]
    assert counts(device) == (2, 0, 0)
    assert (device.totals.readings_duplicates, device.totals.readings_stored) == (1, 3)
    assert ledgers_add_up(device)


def test_an_array_with_nothing_new_is_a_repeat():
    device = pipeline()
    feed(device, raw([moment(0, 1, flow=1.0), moment(1, 2, flow=2.0)], received=3))
    assert feed(device, raw([moment(0, 1, flow=1.0), moment(1, 2, flow=2.0)], received=4, dup=True)) == []
    assert counts(device) == (1, 1, 0)


def test_an_array_without_seq_is_recognised_whole_by_its_bytes_and_in_part_by_its_times():
    device = pipeline()
    whole = raw([moment(0, flow=1.0), moment(1, flow=2.0)], received=3)
    feed(device, whole, whole)
    assert counts(device) == (1, 1, 0)
    outputs = feed(device, raw([moment(1, flow=2.0), moment(2, flow=3.0)], received=3))
    assert cleaned(outputs) == [{"flow": 3.0}]


def test_a_bad_moment_of_an_array_is_buried_reading_by_reading_and_the_others_go_on():
    device = pipeline()
    array = [moment(0, 1, flow=1.0), {"ts": -5, "values": {"gas": 1, "flow": 2}}, 5, moment(1, 2, flow="x", gas=3.0)]
    outputs = feed(device, raw(array, received=3))
    assert cleaned(outputs) == [{"flow": 1.0}, {"gas": 3.0}]
    letters = only(topics.DEAD_LETTER, outputs)
    assert [(letter.index, letter.sensor, letter.reason) for letter in letters] == [
        (1, "flow", Reason.BAD_TIME),
        (2, "gas", Reason.BAD_TIME),
        (3, "", Reason.WRONG_SHAPE),
        (4, "flow", Reason.NOT_A_NUMBER),
    ]
    assert [letter.id for letter in letters] == ["3:0:1", "3:0:2", "3:0:3", "3:0:4"]
    assert ledgers_add_up(device)


def test_a_bad_moment_without_readings_buries_nothing():
    device = pipeline()
    outputs = feed(
        device, raw([{"ts": -5, "values": {"a": None}}, {"ts": -5, "values": {"a": "x"}}, moment(0, flow=1.0)])
    )
    assert [letter.id for letter in only(topics.DEAD_LETTER, outputs)] == ["3:0:0"]
    assert ledgers_add_up(device)


def test_an_array_of_a_device_without_a_clock_may_be_in_any_order():
    device = pipeline()
    feed(device, raw({"seq": 1, "flow": 1.0}))
    outputs = feed(device, raw([{"seq": 5, "flow": 5.0}, {"seq": 3, "flow": 3.0}, {"seq": 4, "flow": 4.0}]))
    assert [values["flow"] for values in cleaned(outputs)] == [5.0, 3.0, 4.0]
    again = raw([{"seq": 5, "flow": 5.0}, {"seq": 3, "flow": 3.0}, {"seq": 4, "flow": 4.0}], dup=True)
    assert cleaned(feed(device, again)) == []


def test_more_readings_than_a_message_may_have_are_one_dead_letter():
    device = pipeline()
    at_most = [{"a": 1}] * MOST_READINGS
    assert len(cleaned(feed(device, raw(at_most)))) == MOST_READINGS
    outputs = feed(device, raw([*at_most, {"a": 1}]), raw({f"s{i}": 1 for i in range(MOST_READINGS + 1)}))
    outputs += feed(device, raw([1] * 100_000 + [{"a": 1}]))
    assert buried(outputs) == [(Reason.TOO_LARGE, None)] * 3
    assert {letter.stage for letter in only(topics.DEAD_LETTER, outputs)} == {Stage.DECODE}
    assert ledgers_add_up(device)


def test_an_array_of_nothing_but_rubbish_is_one_dead_letter():
    assert buried(outputs_of(raw([1] * 120_000))) == [(Reason.WRONG_SHAPE, None)]


# ------------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    "claim", [{"device": "pump-2"}, {"tenant": "other"}, {"site": "south"}, {"device": 5}, {"device": ["pump-1"]}]
)
def test_a_device_speaks_only_for_itself(claim):
    device = pipeline()
    outputs = feed(device, raw({"ts": at(0), "seq": 1, "values": {"flow": 1.0}} | claim))
    assert buried(outputs) == [(Reason.IDENTITY_MISMATCH, None)]
    assert cleaned(feed(device, message(0, 1, flow=2.0))) == [{"flow": 2.0}]


def test_a_true_claim_is_no_matter():
    claims = {"device": "pump-1", "tenant": "acme", "site": "north"}
    assert cleaned(outputs_of(raw({"flow": 1.0} | claims))) == [{"flow": 1.0}]


# --------------------------------------------------------------------------------------------------------------- gaps


def test_a_gap_is_told_after_the_allowed_lateness_and_taken_back_when_it_is_filled():
    device = pipeline()
    feed(device, message(0, 1, flow=1.0), message(1, 5, flow=1.0))
    assert gaps(feed(device, message(10.9, 6, flow=1.0))) == []
    assert gaps(feed(device, message(11, 7, flow=1.0))) == [(GapPhase.MISSING, 0, 2, 4)]
    outputs = feed(device, message(0.5, 3, flow=1.0))
    assert gaps(outputs) == [(GapPhase.WITHDRAWN, 0, 2, 4), (GapPhase.MISSING, 0, 2, 2), (GapPhase.MISSING, 0, 4, 4)]
    assert only(topics.GAPS, outputs)[0].id == "acme/pump-1:0:2:4:withdrawn"


def test_a_restarted_counter_is_a_new_epoch():
    outputs = outputs_of(
        message(0, 500, flow=1.0), message(1, 0, flow=1.0), message(2, 2, flow=1.0), message(60, 3, flow=1.0)
    )
    assert gaps(outputs) == [(GapPhase.MISSING, 1, 1, 1)]
    assert len(cleaned(outputs)) == 4


def test_a_message_with_a_bad_time_leaves_no_gap():
    device = pipeline()
    feed(device, message(0, 1, flow=1.0), raw({"ts": "never", "seq": 2, "values": {"flow": 1}}, received=1))
    assert gaps(feed(device, message(2, 3, flow=1.0), message(60, 4, flow=1.0))) == []


# --------------------------------------------------------------------------------------------------------------- junk


@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        ({headers.RECEIVED_AT: b""}, Reason.WRONG_SHAPE),
        ({headers.RECEIVED_AT: b"yesterday"}, Reason.WRONG_SHAPE),
        ({headers.RECEIVED_AT: b"-1"}, Reason.WRONG_SHAPE),
        ({headers.RECEIVED_AT: b"9" * 20}, Reason.WRONG_SHAPE),
        ({headers.RECEIVED_AT: b"9" * 5000}, Reason.WRONG_SHAPE),
        ({headers.RECEIVED_AT: None}, Reason.WRONG_SHAPE),
        ({headers.MQTT_TOPIC: b"\xff\xfe"}, Reason.UNROUTABLE),
        ({headers.MQTT_TOPIC: None}, Reason.UNROUTABLE),
        ({headers.MQTT_TOPIC: b"weir/v1/acme/north/pump-2/telemetry"}, Reason.UNROUTABLE),
        ({headers.MQTT_TOPIC: b"weir-out/v1/acme/north/pump-1/alarms"}, Reason.UNROUTABLE),
        ({headers.REJECT: b"of_the_future"}, Reason.UNROUTABLE),
        ({headers.REJECT: b"\xff", headers.REJECT_DETAIL: b"\xff"}, Reason.UNROUTABLE),
        ({headers.REJECT: b"too_large", headers.SIZE: b"many", headers.SHA256: b"\xff"}, Reason.TOO_LARGE),
        ({headers.REJECT: b"too_large", headers.SIZE: None, headers.REJECT_DETAIL: None}, Reason.TOO_LARGE),
        ({headers.REJECT: b"too_large", headers.SHA256: None}, Reason.TOO_LARGE),
        ({headers.REJECT: b"too_large", headers.SIZE: b"9" * 5000}, Reason.TOO_LARGE),
    ],
)  # fmt: skip
def test_whatever_stands_in_the_headers_the_stream_goes_on(junk, reason):
    partition = pipeline()
    outputs = feed(partition, raw({"flow": 1.0}, extra=junk))
    assert buried(outputs) == [(reason, None)]
    (letter,) = only(topics.DEAD_LETTER, outputs)
    assert letter.size == len(letter.payload)
    assert cleaned(feed(partition, message(0, 1, flow=1.0))) == [{"flow": 1.0}]


def test_a_record_without_any_headers():
    partition = pipeline()
    (letter,) = only(topics.DEAD_LETTER, partition.process([raw(b"")._replace(headers={}, key=b"")]))
    assert (letter.reason, letter.mqtt_topic, letter.tenant) == (Reason.WRONG_SHAPE, "", None)


@pytest.mark.parametrize(
    "key", [b"", b"\xff/\xff", b"acme", b"acme/", b"/pump-1", b"acme/pump-1/x", b"acme/$", b"$/$", b"acme/pump-1|10|0",
            b"$raw-topic", b"a" * 100_000, b"acme/pump-1\n"],
)  # fmt: skip
def test_what_has_no_devices_key_belongs_to_nobody_and_survives_a_restart(key):
    partition = pipeline(devices=1)
    outputs = feed(partition, raw({"flow": 1.0}, key=key))
    assert [(output.topic, output.key) for output in outputs] == [(topics.DEAD_LETTER, topics.UNPLACED_KEY)]
    assert only(topics.DEAD_LETTER, outputs)[0].tenant is None
    assert [change.key for change in partition.take_changes()] == [topics.UNPLACED_KEY]


def test_a_route_to_a_decoder_that_does_not_exist_is_refused_at_start():
    route = Route("odd", ("plant", "{device}"), Kind.TELEMETRY, "protobuf", {"tenant": "acme", "site": "north"})
    with pytest.raises(ConfigurationError, match="protobuf"):
        PartitionPipeline(0, Routes((route,)), DeviceTypes({}, []))


def test_a_dead_letter_tells_where_its_message_stands():
    partition = pipeline()
    good = [message(second, second, flow=1.0) for second in range(5)]
    outputs = partition.process(log([*good, raw(b"no json", received=9)], start=40))
    (letter,) = only(topics.DEAD_LETTER, outputs)
    assert (letter.id, letter.topic, letter.partition, letter.offset, letter.index) == ("3:45:0", topics.RAW, 3, 45, 0)
    assert (letter.payload, letter.size, letter.received_us) == (b"no json", 7, at(9))
