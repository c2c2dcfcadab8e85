"""`weir dead-letter`: which letters are meant, what is said of one, and what is sent again."""

from __future__ import annotations

import json

import msgspec
import pytest
from console_records import NOON_US

from schemas import raw
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage
from services.console.dead_letters.advice import FIX
from services.console.dead_letters.letters import Choice, Held, Letters, name_of
from services.console.dead_letters.planning import plan
from services.console.dead_letters.view import listed, listed_json, payload_lines, planned, shown, shown_json
from services.runtime.routes import load_routes
from services.stream.arrival import RawRecord

ROUTES = load_routes(None)


def letter(offset: int = 0, index: int = 0, reason: Reason = Reason.MALFORMED, **more) -> DeadLetter:
    told = {
        "id": f"2:{offset}:{index}",
        "reason": reason,
        "stage": Stage.DECODE,
        "detail": "because",
        "payload": b"{oops",
        "size": 5,
        "mqtt_topic": "weir/v1/acme/north/d/telemetry",
        "topic": "telemetry.raw",
        "partition": 2,
        "offset": offset,
        "index": index,
        "received_us": NOON_US + offset,
        "tenant": "acme",
        "site": "north",
        "device": "d",
    }
    return DeadLetter(**(told | more))


def reading(offset: int = 0, index: int = 0, **more) -> DeadLetter:
    return letter(offset, index, Reason.OUT_OF_RANGE, **({"sensor": f"s{index}", "stage": Stage.CLEAN} | more))


def mark(of: DeadLetter, at_us: int = NOON_US + 10**9) -> DeadLetter:
    return msgspec.structs.replace(of, payload=b"", replayed_us=at_us)


def held(one: DeadLetter, replayed_us: int | None = None) -> Held:
    return Held(one, NOON_US, "acme/d", replayed_us)


def taken(*letters: DeadLetter, choice: Choice | None = None, most: int = 10, key: str = "acme/d") -> Letters:
    found = Letters(choice or Choice(), most)
    for at, one in enumerate(letters):
        found.take(one, NOON_US + at, key)
    return found


# --------------------------------------------------------------------------------------------------------------- a list


def test_letters_are_counted_once_by_reason_and_the_last_are_held():
    found = taken(letter(1), reading(2), letter(3), letter(1), reading(2), most=2)
    assert dict(found.by_reason) == {"malformed": 2, "out_of_range": 1}
    assert [one.letter.offset for one in found.last()] == [2, 3]


def test_a_mark_is_no_letter_but_says_when_its_letter_was_replayed():
    found = taken(letter(1), letter(2), mark(letter(1), 7), mark(letter(1), 8))
    assert (found.total, found.replayed) == (2, 1)
    assert [one.replayed_us for one in found.last()] == [8, None]


def test_a_mark_whose_letter_is_gone_or_older_than_asked_for_is_not_counted():
    found = taken(mark(letter(1), 7), letter(2))
    assert (found.total, found.replayed) == (1, 0)


@pytest.mark.parametrize(
    ("choice", "offsets"),
    [
        (Choice(reason=Reason.OUT_OF_RANGE), [2]),
        (Choice(stage=Stage.DECODE), [1, 3]),
        (Choice(device="acme/d"), [1, 2, 3]),
        (Choice(device="acme/e"), []),
    ],
)
def test_a_choice_is_by_reason_stage_and_device(choice, offsets):
    found = taken(letter(1), reading(2), letter(3), choice=choice)
    assert [one.letter.offset for one in found.last()] == offsets


def test_the_list_counts_first_and_ends_with_the_newest():
    lines = listed(found := taken(letter(1), reading(2), mark(letter(1)), most=2), found.last()).splitlines()
    assert lines[0] == "2 dead letters, 1 of them replayed: malformed 1, out_of_range 1"
    assert "2:1:0  acme/d  malformed (decode): because  [replayed] | {oops" in lines[1]
    assert "2:2:0" in lines[2]
    told = json.loads(listed_json(found, found.last()))
    assert (told["total"], told["by_reason"]["malformed"], told["letters"][1]["sensor"]) == (2, 1, "s0")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2:18207:3", ("telemetry.raw", 2, 18207, 3)),
        ("telemetry.clean:0:5:1", ("telemetry.clean", 0, 5, 1)),
        ("2:18207", None),
        ("a:b:c", None),
        ("x:y:1:2:3", None),
        ("", None),
    ],
)
def test_an_id_names_a_record_and_a_reading(text, name):
    assert name_of(text) == name


# --------------------------------------------------------------------------------------------------------------- shown


def test_one_letter_is_shown_with_its_fix_and_its_bytes_as_text():
    text = shown(held(reading(4, 1, payload=b'{"values":\n{"s1": 9}}')), [held(reading(4, 2))])
    assert "reading 1, sensor s1" in text
    assert FIX[Reason.OUT_OF_RANGE] in text
    assert "2:4:2 s2 (out_of_range)" in text
    assert text.endswith('{"values":\n{"s1": 9}}')
    assert json.loads(shown_json(held(reading(4)), []))["fix"] == FIX[Reason.OUT_OF_RANGE]


def test_bytes_that_are_no_text_are_dumped_and_none_can_steer_the_terminal():
    assert list(payload_lines(b"\xff\x01A")) == [f"00000000  {'ff 01 41':<47}  ..A"]
    assert list(payload_lines(b"\x1b[31mred\nnext")) == ["\\x1b[31mred", "next"]
    assert list(payload_lines(b"\xff" * 5000))[-1].startswith("… 904 bytes more")


def test_every_reason_has_a_fix():
    assert FIX.keys() == set(Reason)


# -------------------------------------------------------------------------------------------------------------- replays


def original(offset: int = 0, value: bytes = b"the message", **headers: bytes) -> dict:
    told = {raw.MQTT_TOPIC: b"weir/v1/acme/north/d/telemetry", raw.MQTT_DUP: b"1", raw.RECEIVED_AT: b"123"}
    told |= {raw.CONTENT_TYPE: b"application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return {("telemetry.raw", 2, offset): RawRecord(offset, b"acme/d", value, told)}


def test_a_message_is_sent_again_as_it_came_with_the_name_of_its_dead_letter():
    (sent,), kept = plan([held(letter())], original(), ROUTES, again=False)
    assert (sent.topic, sent.key, sent.value, kept) == ("telemetry.raw", b"acme/d", b"the message", [])
    assert dict(sent.headers) == {
        raw.MQTT_TOPIC: b"weir/v1/acme/north/d/telemetry",
        raw.MQTT_DUP: b"1",
        raw.RECEIVED_AT: b"123",
        raw.CONTENT_TYPE: b"application/json",
        raw.ROUTE: b"telemetry",
        raw.REPLAY_OF: b"2:0:0",
    }


def test_without_the_original_the_dead_letter_has_all_that_the_stream_needs():
    (sent,), _ = plan([held(letter())], {}, ROUTES, again=False)
    assert sent.value == b"{oops"
    headers = dict(sent.headers)
    assert (headers[raw.RECEIVED_AT], headers[raw.MQTT_DUP]) == (b"%d" % NOON_US, b"0")


def test_readings_of_one_message_are_one_replay_that_names_them():
    chosen = [held(reading(7, 4)), held(reading(8, 0)), held(reading(7, 1, payload=b""))]
    sent, _ = plan(chosen, {}, ROUTES, again=False)
    assert [dict(each.headers)[raw.REPLAY_READINGS] for each in sent] == [b"1,4", b"0"]
    assert [dict(each.headers)[raw.REPLAY_OF] for each in sent] == [b"2:7:4", b"2:8:0"]


def test_what_was_replayed_before_is_kept_unless_asked_for():
    once = [held(letter(), replayed_us=NOON_US)]
    sent, ((_, why),) = plan(once, {}, ROUTES, again=False)
    assert (sent, why) == ([], "replayed already; --again sends it once more")
    assert len(plan(once, {}, ROUTES, again=True)[0]) == 1


def test_a_replay_of_a_replay_names_the_latest_dead_letter_only():
    (sent,), _ = plan(
        [held(reading(9, 1))], original(9, replay_of=b"2:0:1", replay_readings=b"1,2"), ROUTES, again=False
    )
    headers = [pair for pair in sent.headers if pair[0].startswith("replay")]
    assert headers == [(raw.REPLAY_OF, b"2:9:1"), (raw.REPLAY_READINGS, b"1")]


def test_what_no_route_placed_goes_to_its_device_once_one_does():
    nowhere = letter(reason=Reason.UNROUTABLE, mqtt_topic="plant/7", tenant=None, site=None, device=None)
    sent, ((_, why),) = plan([held(nowhere)], {}, ROUTES, again=False)
    assert sent == []
    assert "no route places 'plant/7' yet" in why
    placed = msgspec.structs.replace(nowhere, mqtt_topic="weir/v1/acme/south/e/telemetry")
    refused = original(reject=b"unroutable", reject_detail=b"no route matches the topic")
    (sent,), _ = plan([held(placed)], refused, ROUTES, again=False)
    assert sent.key == b"acme/e"
    assert raw.REJECT not in dict(sent.headers)
    assert raw.REJECT_DETAIL not in dict(sent.headers)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            letter(reason=Reason.TOO_LARGE, payload=b"x" * 9, size=300_000, sha256="0" * 64),
            "kept 9 of its 300,000 bytes",
        ),
        (reading(payload=b"", size=9_000), "in the first dead letter of its message only"),
        (letter(mqtt_topic="weir/v1/acme/north/d/status"), "reads 'weir/v1/acme/north/d/status' as status"),
        (
            letter(reason=Reason.SINK_REFUSED, topic="telemetry.aggregates", stage=Stage.SINK),
            "a record of telemetry.aggregates is not sent again",
        ),
    ],
)
def test_what_cannot_be_sent_again_says_why(one, says):
    sent, ((_, why),) = plan([held(one)], {}, ROUTES, again=False)
    assert sent == []
    assert says in why


@pytest.mark.parametrize("topic", ["telemetry.clean", "telemetry.scores"])
def test_a_record_that_influxdb_refused_goes_to_its_own_topic_again_for_the_sink_to_write(topic):
    refused = letter(reason=Reason.SINK_REFUSED, topic=topic, stage=Stage.SINK, payload=b"{record}", mqtt_topic="")
    other = msgspec.structs.replace(refused, id="other", index=1)
    (sent,), kept = plan([held(refused), held(other)], {}, ROUTES, again=False)
    assert (sent.topic, sent.key, sent.value, kept) == (topic, b"acme/d", b"{record}", [])
    assert sent.headers == [(raw.REPLAY_OF, b"2:0:0")]


def test_a_replay_says_what_it_sends_and_what_not():
    sent, kept = plan([held(letter(1)), held(letter(2), replayed_us=1)], {}, ROUTES, again=False)
    assert planned(sent, kept, done=False).splitlines() == [
        "to replay: dead letters 1, as messages 1",
        "  2:1:0 -> telemetry.raw acme/d, 5 B",
        "not replayed: 1",
        "  2:2:0 (malformed): replayed already; --again sends it once more",
    ]


def test_an_operator_s_command_is_not_replayed_but_given_again():
    sent, (kept,) = plan([held(letter())], original(operator_command=b"1"), ROUTES, again=False)
    assert sent == []
    assert "weir model" in kept.why
