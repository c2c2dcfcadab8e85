"""The oracle says yes to what Weir's real core makes of a row, and finds each single thing that is put wrong in it."""

import base64
import copy
import json

import msgspec
import pytest

from tests.faults.drill.account import SHOWN_WITHIN_US
from tests.faults.drill.alarms_oracle import Step, level_steps
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import Entry, RawMessage, ScorePoint
from tests.faults.drill.kafka_log import entry_of
from tests.faults.drill.oracle import judge_evidence, windows_due_us
from tests.faults.drill.told import Told, time_ns
from tests.faults.drill.verdict import Verdict
from tests.faults.drill.windows_oracle import windows_of
from tests.faults.drill.workload import SENSORS, Workload
from tests.unit.drill.healthy_row import START_US, HealthyRow, healthy_row

DAY_US = 86_400_000_000
NUMBER = 123
"""The message that is put wrong."""
NEITHER = "neither stored nor dead-lettered"


@pytest.fixture(scope="module")
def calm() -> HealthyRow:
    return healthy_row(Workload(1, "calm", devices=2), 300)


@pytest.fixture
def row(calm: HealthyRow) -> HealthyRow:
    return copy.deepcopy(calm)


def judged(row: HealthyRow, *, gaps_allowed: bool = False) -> Verdict:
    return judge_evidence(row.workload, row.record, row.evidence, gaps_allowed=gaps_allowed, now_us=row.now_us)


def only(verdict: Verdict) -> tuple[str, str]:
    """The kind of the one finding, and its words."""
    findings = [(kind, said) for kind in ("lost", "doubled", "wrong") for said in getattr(verdict, kind)]
    assert len(findings) == 1, findings
    return findings[0]


def kinds(verdict: Verdict) -> set[str]:
    return {kind for kind in ("lost", "doubled", "wrong") if getattr(verdict, kind)}


def changed(entry: Entry, **fields) -> Entry:
    return entry_of(msgspec.json.encode({**entry.fields, **fields}))


# --------------------------------------------------------------------------------------------------- what is all right


def test_a_healthy_row_adds_up(calm):
    verdict = judged(calm)
    assert (verdict.lost, verdict.doubled, verdict.wrong) == ([], [], [])
    assert verdict.acknowledged == verdict.stored == 2 * 302
    assert verdict.alarms == 3, "the second device has the first one's prior, so its excess is an anomaly as well"
    assert verdict.windows > 2 * 3 * 5
    assert (verdict.windows_open, verdict.raw_repeats, verdict.derived_repeats) == (0, 0, 0)


@pytest.mark.parametrize("offset_us", [DAY_US, -DAY_US, 240_000_000])
def test_a_device_whose_clock_is_wrong_adds_up(offset_us):
    row = healthy_row(Workload(1, "clock", devices=2, clock_offset_us={1: offset_us}), 200, after_us=700_000_000)
    verdict = judged(row)
    assert verdict.ok, verdict
    assert verdict.stored == 2 * 202


def test_copies_are_repeats_of_one_message():
    verdict = judged(healthy_row(Workload(1, "storm", devices=1, copies=3), 200))
    assert verdict.ok, verdict
    assert (verdict.acknowledged, verdict.stored, verdict.raw_repeats) == (202, 202, 404)


def test_a_bridge_that_repeats_a_stretch_adds_up():
    verdict = judged(healthy_row(Workload(1, "again", devices=1), 200, in_log=lambda _, log: log[:150] + log[100:]))
    assert verdict.ok, verdict
    assert verdict.raw_repeats == 50


@pytest.mark.parametrize("delay", [30, 150, 900])
def test_what_comes_late_corrects_its_windows_or_is_in_none(delay):
    def late(_, log):
        return [*log[:40], *log[45 : 45 + delay], *log[40:45], *log[45 + delay :]]

    verdict = judged(healthy_row(Workload(1, "late", devices=2), 1000, in_log=late))
    assert verdict.ok, verdict
    assert verdict.stored == 2 * 1002


def test_many_messages_in_a_window_have_quantiles_within_the_stated_error():
    verdict = judged(healthy_row(Workload(1, "burst", devices=1, per_second=100.0), 4000))
    assert verdict.ok, verdict


def test_a_loss_before_weir_is_a_gap_where_it_may_be_and_a_loss_elsewhere():
    row = healthy_row(Workload(1, "gap", devices=2), 200, in_log=lambda _, log: log[:100] + log[105:])
    verdict = judged(row, gaps_allowed=True)
    assert verdict.ok, verdict
    assert (verdict.acknowledged, verdict.stored, verdict.in_gaps) == (404, 394, 10)
    verdict = judged(row)
    assert len(verdict.lost) == 10
    assert verdict.in_gaps == 0


def test_a_lost_tail_shows_by_the_closing_messages():
    row = healthy_row(Workload(1, "tail", devices=1), 200, in_log=lambda _, log: log[:190] + log[200:])
    verdict = judged(row, gaps_allowed=True)
    assert verdict.ok, verdict
    assert verdict.in_gaps == 10


def test_a_gap_that_is_filled_later_is_no_loss():
    def filled(_, log):
        return [*log[:50], *log[60:180], *log[50:60], *log[180:]]

    verdict = judged(healthy_row(Workload(1, "filled", devices=1), 400, in_log=filled))
    assert verdict.ok, verdict
    assert verdict.stored == 402


def test_poison_is_a_dead_letter_each():
    poison = {0: [b"{broken", b'{"values":[1]}'], 1: [b'{"ts":-5,"values":{"a":1}}']}
    verdict = judged(healthy_row(Workload(1, "poison", devices=2), 100, poison=poison))
    assert verdict.ok, verdict
    assert verdict.poison_acknowledged == 3
    assert verdict.dead_letter_reasons == {"malformed": 1, "wrong_shape": 1, "bad_time": 1}


def test_windows_are_not_asked_for_before_their_time():
    row = healthy_row(Workload(1, "soon", devices=1), 100, after_us=40_000_000)
    verdict = judged(row)
    assert verdict.ok, verdict
    assert verdict.windows_open == 2 * 3
    shown_us = row.now_us + 300_000_000
    assert judge_evidence(row.workload, row.record, row.evidence, gaps_allowed=False, now_us=shown_us).lost


def test_all_windows_are_due_after_the_widest_has_ended_by_the_devices_clock():
    sent = {"a-00": {0: START_US}, "a-01": {0: START_US - DAY_US}}
    due_us = windows_due_us(FleetRecord(sent=sent))
    assert due_us >= START_US - START_US % 300_000_000 + 300_000_000 + SHOWN_WITHIN_US


def test_a_line_that_the_database_refused_is_a_dead_letter_of_its_reading(row):
    clean = row.evidence.clean["calm-00"][NUMBER]
    at = time_ns(clean.fields["event_us"], NUMBER)
    row.evidence.readings["calm-00", "level"] = [p for p in row.evidence.readings["calm-00", "level"] if p[0] != at]
    bury(row, "telemetry.clean", {"seq": NUMBER, "device": "calm-00"}, "level")
    verdict = judged(row)
    assert verdict.ok, verdict
    assert (verdict.stored, verdict.dead_lettered) == (603, 1)
    assert verdict.dead_letter_reasons == {"sink_refused": 1}


def bury(row: HealthyRow, topic: str, record: dict, sensor: str | None) -> None:
    letter = {
        "id": f"{topic}:0:7:0",
        "topic": topic,
        "reason": "sink_refused",
        "payload": base64.b64encode(json.dumps(record).encode()).decode(),
        "sensor": sensor,
    }
    row.evidence.dead_letters.setdefault("calm-00", []).append(entry_of(json.dumps(letter).encode()))


# ------------------------------------------------------------------------------------------------- what must be found


def without_point(row: HealthyRow, device: str, sensor: str, at: int) -> None:
    points = row.evidence.readings[device, sensor]
    del points[at]


def test_a_lost_message_is_found(row):
    for sensor in SENSORS:
        without_point(row, "calm-01", sensor, NUMBER)
    assert only(judged(row)) == ("lost", f"calm-01 seq {NUMBER} (level, pressure, temperature): " + NEITHER)


def test_a_lost_reading_is_found(row):
    without_point(row, "calm-00", "pressure", NUMBER)
    verdict = judged(row)
    assert only(verdict) == ("lost", f"calm-00 seq {NUMBER} (pressure): {NEITHER}")
    assert (verdict.acknowledged, verdict.stored) == (604, 603)


def test_a_message_that_the_bridge_never_passed_on_is_found():
    row = healthy_row(Workload(1, "gone", devices=1), 100, in_log=lambda _, log: log[:-2] + log[-1:])
    row.evidence.gaps.clear()
    assert only(judged(row))[0] == "lost"


def test_a_message_that_came_and_was_not_acknowledged_must_be_stored_too(row):
    del row.record.acknowledged["calm-00"][NUMBER]
    without_point(row, "calm-00", "level", NUMBER)
    assert only(judged(row))[0] == "lost"


def test_a_reading_stored_at_two_times_is_found(row):
    at, value = row.evidence.readings["calm-00", "level"][NUMBER]
    row.evidence.readings["calm-00", "level"].append((at + 1000, value))
    assert only(judged(row)) == ("doubled", f"calm-00 seq {NUMBER} level: stored once more, at {at + 1000} ns")


def test_a_wrong_value_is_found(row):
    at, value = row.evidence.readings["calm-00", "level"][NUMBER]
    row.evidence.readings["calm-00", "level"][NUMBER] = (at, value + 1e-9)
    kind, said = only(judged(row))
    assert kind == "wrong"
    assert said.startswith(f"calm-00 seq {NUMBER} level: stored as")


def test_a_point_that_was_never_sent_is_found(row):
    row.evidence.readings["calm-00", "level"].append((START_US * 1000 + 500, -1.5))
    assert only(judged(row))[1].startswith("calm-00 level: stored, but never sent: -1.5")


def test_a_sensor_that_was_never_sent_is_found(row):
    row.evidence.readings["calm-00", "humidity"] = [(START_US * 1000, 1.0)]
    assert only(judged(row)) == ("wrong", "calm-00: stored, but never sent: sensor 'humidity'")


def a_window(row: HealthyRow, *, width_us: int = 60_000_000) -> tuple[str, str, int, int]:
    return max(key for key in row.evidence.windows if key[2] == width_us and key[1] == "pressure")


@pytest.mark.parametrize("width_us", [10_000_000, 60_000_000, 300_000_000])
def test_a_message_that_a_window_counted_twice_is_found(row, width_us):
    window = row.evidence.windows[a_window(row, width_us=width_us)]
    window["mean"] = (window["mean"] * window["count"] + window["last"]) / (window["count"] + 1)
    window["count"] += 1
    assert only(judged(row))[0] == "doubled"


@pytest.mark.parametrize("field", ["mean", "std", "min", "max", "p50", "p95", "first", "last"])
def test_each_number_of_a_window_is_checked_in_influxdb(row, field):
    window = row.evidence.windows[a_window(row)]
    window[field] += 1e-6 if field not in ("p50", "p95") else 1.0
    kind, said = only(judged(row))
    assert kind == "wrong"
    assert f"in InfluxDB: {field} is" in said


def test_a_wrong_window_on_the_topic_is_found(row):
    entries = row.evidence.aggregates["calm-00"]
    entries[5] = changed(entries[5], count=entries[5].fields["count"] + 1)
    kind, said = only(judged(row))
    assert kind == "doubled"
    assert "on telemetry.aggregates: count is" in said


def test_a_window_is_closed_when_its_time_has_passed_and_not_before(row):
    entries = row.evidence.aggregates["calm-00"]
    closed = next(at for at, entry in enumerate(entries) if not entry.fields["provisional"])
    entries[closed] = changed(entries[closed], provisional=True)
    assert only(judged(row))[1].endswith("shown as open, though its time has passed")
    entries[closed] = changed(entries[closed], provisional=False)
    entries[-1] = changed(entries[-1], provisional=False)
    assert only(judged(row))[1].endswith("closed before its time")


def test_what_was_shown_of_a_window_while_it_was_open_holds_no_more_once_it_is_closed(row):
    entries = row.evidence.aggregates["calm-00"]
    closed = next(entry for entry in entries if not entry.fields["provisional"])
    entries.append(changed(closed, id=closed.id + "p", provisional=True, count=closed.fields["count"] - 1))
    assert judged(row).ok


def test_a_window_that_is_missing_or_of_nothing_is_found(row):
    key = a_window(row)
    row.evidence.windows[(*key[:3], 0)] = row.evidence.windows.pop(key)
    verdict = judged(row)
    assert len(verdict.lost) == len(verdict.wrong) == 1


def test_a_late_writer_that_puts_an_older_revision_back_is_found():
    def late(_, log):
        return [*log[:40], *log[45:245], *log[40:45], *log[245:]]

    row = healthy_row(Workload(1, "zombie", devices=1), 400, in_log=late)
    entry = next(e for e in row.evidence.aggregates["zombie-00"] if e.fields["revision"] > 0)
    fields = entry.fields
    key = ("zombie-00", fields["sensor"], fields["width_us"], fields["start_us"])
    before = next(e.fields for e in row.evidence.aggregates["zombie-00"] if window_of(e) == key[1:])
    assert before["revision"] == 0
    row.evidence.windows[key] = {name: float(before[name]) for name in row.evidence.windows[key]}
    assert only(judged(row))[0] == "wrong"


def window_of(entry: Entry) -> tuple[str, int, int]:
    return entry.fields["sensor"], entry.fields["width_us"], entry.fields["start_us"]


@pytest.mark.parametrize("topic", ["clean", "scores"])
def test_a_message_under_two_ids_is_found(row, topic):
    entries = getattr(row.evidence, topic)["calm-00"]
    entries.append(entries[NUMBER]._replace(id="another"))
    assert only(judged(row)) == ("doubled", f"calm-00 seq {NUMBER}: 2 times on telemetry.{topic}")


@pytest.mark.parametrize("topic", ["clean", "scores", "aggregates", "alarms"])
def test_a_repeat_is_counted_and_one_with_other_bytes_is_found(row, topic):
    device = next(iter(getattr(row.evidence, topic)))
    entries = getattr(row.evidence, topic)[device]
    entries.append(entries[0])
    verdict = judged(row)
    assert verdict.ok
    assert verdict.derived_repeats == 1
    entries[-1] = entries[0]._replace(digest=1)
    kind, said = only(judged(row))
    assert kind == "wrong"
    assert said.endswith("differ")


@pytest.mark.parametrize("topic", ["clean", "scores"])
def test_a_message_that_is_not_on_a_topic_is_found(row, topic):
    del getattr(row.evidence, topic)["calm-00"][NUMBER]
    assert only(judged(row)) == ("lost", f"calm-00 seq {NUMBER}: not on telemetry.{topic}")


def test_another_score_in_influxdb_is_found(row):
    points = row.evidence.score_points["calm-00"]
    at = sorted(points)[NUMBER]
    points[at] = ScorePoint(0.9, 0.9)
    assert only(judged(row))[0] == "wrong"
    del points[at]
    assert only(judged(row))[0] == "lost"


def test_an_anomaly_that_influxdb_has_not_or_otherwise_or_alone_is_found(row):
    points = row.evidence.anomaly_points
    key, point = next(iter(points.items()))
    points[key] = point._replace(open=0.0)
    assert only(judged(row))[0] == "wrong"
    del points[key]
    assert only(judged(row))[0] == "lost"
    points[key] = point
    points[key[0], key[1] + 1] = point
    assert only(judged(row))[0] == "wrong"


def test_a_gap_over_what_came_and_one_over_what_was_never_sent_are_found(row):
    gap = {"id": "g", "epoch": 0, "first_seq": NUMBER, "last_seq": NUMBER, "phase": "missing"}
    row.evidence.gaps["calm-00"] = [entry_of(json.dumps(gap).encode())]
    assert only(judged(row, gaps_allowed=True)) == (
        "wrong",
        f"calm-00 seq {NUMBER}: in a gap record, and yet it came",
    )
    row.evidence.gaps["calm-00"] = [entry_of(json.dumps({**gap, "first_seq": 900, "last_seq": 905}).encode())]
    assert "never sent" in only(judged(row, gaps_allowed=True))[1]
    withdrawn = {**gap, "id": "w", "first_seq": 900, "last_seq": 905, "phase": "withdrawn"}
    row.evidence.gaps["calm-00"].append(entry_of(json.dumps(withdrawn).encode()))
    assert judged(row).ok


def test_a_dead_letter_beside_the_stored_reading_is_found(row):
    bury(row, "telemetry.clean", {"seq": NUMBER, "device": "calm-00"}, "level")
    assert only(judged(row)) == ("doubled", f"calm-00 seq {NUMBER} level: stored and dead-lettered")


def test_a_dead_letter_of_what_was_never_sent_is_found(row):
    bury(row, "telemetry.raw", {"what": 1}, None)
    assert only(judged(row))[1].startswith("calm-00: dead-lettered, but never sent")


def test_poison_without_and_with_too_many_dead_letters_is_found():
    row = healthy_row(Workload(1, "poison", devices=1), 50, poison={0: [b"{broken"]})
    (letter,) = row.evidence.dead_letters["poison-00"]
    row.evidence.dead_letters["poison-00"] = []
    assert only(judged(row)) == ("lost", "poison-00: no dead letter of b'{broken'")
    row.evidence.dead_letters["poison-00"] = [letter, letter._replace(id="another")]
    assert only(judged(row)) == ("doubled", "poison-00: 2 dead letters of b'{broken'")


def test_bytes_on_raw_that_nobody_sent_are_found(row):
    row.evidence.raw["calm-00"].append(RawMessage(b'{"ts":1,"seq":1,"values":{}}', START_US))
    assert only(judged(row))[0] == "wrong"


# --------------------------------------------------------------------------------------------------------------- alarms


def test_an_alarm_event_twice_is_found(row):
    raised = next(
        e for e in row.evidence.alarms["calm-01"] if (e.fields["rule"], e.fields["phase"]) == ("level-high", "raised")
    )
    again = changed(raised, id=raised.id + "x")
    row.evidence.alarms["calm-01"].insert(1, again)
    verdict = judged(row)
    assert verdict.doubled == [
        f"calm-01: 2 alarm events Step(rule='level-high', phase='raised', at_us={raised.fields['at_us']})"
    ]
    assert any("went through" in said for said in verdict.wrong)


def test_an_alarm_that_did_not_come_is_found(row):
    row.evidence.alarms["calm-01"] = []
    row.evidence.posts = [post for post in row.evidence.posts if "/calm-01:" not in post[0]]
    verdict = judged(row)
    assert kinds(verdict) == {"lost"}
    assert len(verdict.lost) == 4


def test_an_alarm_that_nothing_asks_for_is_found(row):
    raised = row.evidence.alarms["calm-01"][0]
    row.evidence.alarms["calm-01"].append(changed(raised, id="x", at_us=raised.fields["at_us"] + 10_000_000))
    assert any("nothing asks for" in said for said in judged(row).wrong)


def test_two_anomalies_at_once_and_a_broken_life_are_found(row):
    opened = row.evidence.anomalies["calm-00"][0]
    other = changed(opened, id="o", anomaly="other", revision=0)
    row.evidence.anomalies["calm-00"].append(other)
    assert any("open at once" in said for said in judged(row).doubled)
    row.evidence.anomalies["calm-00"] = [changed(opened, id="c", phase="closed")]
    assert any("went through" in said for said in judged(row).wrong)


def test_a_correction_of_an_older_window_changes_no_alarm_and_one_of_the_last_does():
    def told(second: float, level: float) -> Told:
        return Told(round(second), round(second * 1e6), {"level": level})

    steady = [told(second, 50.0) for second in (1, 11, 21, 31, 41)]
    older, last = told(2, 110.0), told(22, 110.0)
    assert level_steps(windows_of([*steady, older])) == []
    raised = Step("level-high", "raised", 30_000_000)
    assert level_steps(windows_of([*steady, last])) == [raised]
    cleared = Step("level-high", "cleared", 40_000_000)
    assert level_steps(windows_of([*steady, last, told(51, 50.0)])) == [raised, cleared]


def test_a_post_that_is_missing_strange_or_other_when_repeated_is_found(row):
    key, body = row.evidence.posts[0]
    row.evidence.posts.append((key, body))
    assert judged(row).ok
    row.evidence.posts.append((key, body + b" "))
    assert "2 versions" in only(judged(row))[1]
    row.evidence.posts = [post for post in row.evidence.posts if post[0] != key]
    assert only(judged(row)) == ("lost", f"the webhook never heard of {key}")
    row.evidence.posts += [(key, body), (key + "x", body)]
    assert only(judged(row))[0] == "wrong"
