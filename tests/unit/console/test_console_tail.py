"""`weir tail`: which records pass, and how they read."""

from __future__ import annotations

import msgspec
import pytest
from console_records import NOON_US, alarm, anomaly, clean, report, score, window

from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.model_event import ModelEvent, ModelEventKind, Step
from schemas.reasons import Reason, Stage
from schemas.telemetry import DeviceLedger, Gap, GapPhase, ModelState, Status
from services.console.records import Entry, full_name
from services.console.tail import TailOptions, passes, to_json
from services.console.wording import line_of, preview, printable
from services.runtime.errors import ConfigurationError

LETTER = DeadLetter(
    id="0:1:0",
    reason=Reason.MALFORMED,
    stage=Stage.DECODE,
    detail="JSON is malformed",
    payload=b"\x1b[2J{oops\n",
    size=9,
    mqtt_topic="weir/v1/demo/plant-1/pump-01/telemetry",
    topic=topics.RAW,
    partition=0,
    offset=1,
    index=0,
    received_us=NOON_US,
)

LEDGER = DeviceLedger(
    "l", "demo", "plant-1", "pump-01", NOON_US, 7, 4, 1, {"malformed": 2}, 0, 9, 5, 0, {"bad_sensor": 3}, 1
)


EVENT = ModelEvent(
    id="e",
    kind=ModelEventKind.DRIFT,
    tenant="demo",
    site="plant-1",
    device="pump-01",
    device_type="generic",
    sensor="flow",
    event_us=NOON_US,
    sentence="pump-01: flow reads higher.",
    step=Step.WATCH,
)


def entry(record=None, key="demo/pump-01", value=b"", **headers):
    return Entry("telemetry.x", 0, 5, NOON_US // 1000, key, headers, value or msgspec.json.encode(record), record)


def shown(record, **filters):
    return passes(entry(record), TailOptions(topic="x", **filters))


@pytest.mark.parametrize(
    ("typed", "topic"),
    [("scores", topics.SCORES), ("telemetry.scores", topics.SCORES), ("events", topics.ALERT_EVENTS),
     ("metrics", topics.METRICS), ("dead-letter", topics.DEAD_LETTER), ("stream-state", topics.STREAM_STATE)],
)  # fmt: skip
def test_a_topics_short_name_will_do(typed, topic):
    assert full_name(typed) == topic


def test_a_topic_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"telemetry\.scores"):
        full_name("scorse")


def test_records_are_filtered_by_device():
    assert shown(clean(), device="demo/pump-01")
    assert not shown(clean(), device="demo/pump-02")


@pytest.mark.parametrize("record", [clean(), score(), window(), anomaly()], ids=["clean", "score", "window", "anomaly"])
def test_records_are_filtered_by_any_sensor_that_they_speak_of(record):
    assert shown(record, sensor="flow")
    assert not shown(record, sensor="voltage")


def test_dead_letters_are_filtered_by_reason():
    assert shown(LETTER, reason="malformed")
    assert not shown(LETTER, reason="late")
    assert not shown(clean(), reason="late")


def test_messages_that_the_bridge_refused_are_filtered_by_reason_too():
    refused = entry(value=b"x", **{"mqtt-topic": "a/b", "reject": "unroutable"})
    assert passes(refused, TailOptions(topic="raw", reason="unroutable"))
    assert not passes(refused, TailOptions(topic="raw", reason="too_large"))
    assert "refused: unroutable" in line_of(refused)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (clean(late=True, stuck=["flow"]), "flow 101.5  pressure 4.5  [late]  [stuck]"),
        (score(value=0.25), "0.250 none (alarm 0.250)  flow 0.25"),
        (window(revision=2, provisional=True), "flow 10 s: n 10 mean 1.5"),
        (anomaly(), "opened peak 0.80: Very unusual at pump-01"),
        (alarm(), "raised by anomaly, critical: pump-01: flow is low"),
        (LETTER, "malformed (decode): JSON is malformed | weir/v1/demo/plant-1/pump-01/telemetry"),
        (msgspec.structs.replace(LETTER, payload=b"", replayed_us=NOON_US), "(malformed) was replayed"),
        (Gap("g", "demo", "plant-1", "pump-01", 0, 3, 9, GapPhase.MISSING, NOON_US), "missing: seq 3 to 9 (7)"),
        (EVENT, "drift: pump-01: flow reads higher. (advised: watch)"),
        (LEDGER, "7 messages, 2 dead; 9 readings, 3 dead; unaccounted for: 0 and 1"),
        (Status("s", "demo", "plant-1", "pump-01", "online", retained=True, received_us=NOON_US), "online"),
        (report("sink", sink_lag_messages=1), "sink host:1: 1 measurements"),
    ],
)
def test_each_record_reads_as_one_line(record, expected):
    line = line_of(entry(record))
    assert expected in line
    assert "\n" not in line


def test_a_command_in_the_log_reads_as_one():
    line = line_of(entry(value=b'{"command":"pause"}', **{"operator-command": "1"}))
    assert line.endswith('demo/pump-01 operator command {"command":"pause"}')


def test_a_paused_score_says_so():
    assert "0.000 none paused (alarm" in line_of(entry(score(value=0.0, state=ModelState.PAUSED)))


def test_what_a_device_writes_cannot_steer_the_terminal():
    hostile = Status("s", "demo", "p", "d", "\x1b[2J\nfake line\u202e", retained=False, received_us=NOON_US)
    for record in (hostile, LETTER):
        assert line_of(entry(record)).isprintable()
    assert printable("\x1b[2J\n") == "\\x1b[2J\\n"
    assert preview(b"\xff\xfe" + b"a" * 500).isprintable()
    assert preview(b"a" * 500).endswith("a…")


def test_json_carries_the_record_as_it_stands_on_the_topic():
    line = msgspec.json.decode(to_json(entry(score())))
    assert line["record"]["type"] == "score.v1"
    assert (line["partition"], line["offset"], line["key"]) == (0, 5, "demo/pump-01")


def test_json_carries_a_payload_that_is_none_of_ours_as_base64():
    assert msgspec.json.decode(to_json(entry(value=b"\xff\n")))["value"] == "/wo="
