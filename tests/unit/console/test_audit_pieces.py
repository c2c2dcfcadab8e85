"""The audit around its core: pages of points, gaps, the state's ledgers, differences, and what a person reads."""

from __future__ import annotations

import json

from console_records import NOON_US

from schemas.telemetry import Gap, GapPhase
from services.console.audit.account import MOST_FINDINGS, Account, Finding, Missing
from services.console.audit.compare import comparable, differences
from services.console.audit.device import Span
from services.console.audit.gaps import GapTally
from services.console.audit.points import query, readings
from services.console.audit.report import Report, tell, to_json
from services.console.device_ledgers import DeviceLedger, DeviceLedgers
from services.console.device_status import worst_first
from services.console.influx import Point
from services.stream.ledger import Ledger
from tests.unit.stream.stream_builders import StateTopic, message, pipeline

# ------------------------------------------------------------------------------------------------------ pages of points


class Database:
    """Answers the audit's question as InfluxDB does: at most so many points of each series."""

    def __init__(self, series: dict[str, list[int]]) -> None:
        self.series = series
        self.asked = 0

    def __call__(self, text: str) -> list[Point]:
        self.asked += 1
        first, last = (int(part.split()[0]) for part in text.split("time >= ")[1].split("time <= "))
        limit = int(text.rsplit(" ", 1)[1])
        return [
            Point("telemetry", "readings", at, {"site": "north", "sensor": sensor}, {"value": float(at)})
            for sensor, times in self.series.items()
            for at in [t for t in times if first <= t <= last][:limit]
        ]


def test_every_point_is_read_once_however_series_and_pages_lie():
    database = Database({"flow": list(range(0, 100, 3)), "gas": [5, 90], "level": list(range(40, 60))})
    found = [(reading.sensor, reading.time_ns) for reading in readings(database, "acme", "d", Span(0, 98), 7)]
    assert sorted(found) == sorted((s, t) for s, times in database.series.items() for t in times if t <= 98)
    assert len(found) == len(set(found))
    assert database.asked > 5


def test_the_question_names_device_time_and_bound():
    assert query("acme", "d-1", Span(1, 2), 3) == (
        'SELECT "value" FROM "readings" WHERE "tenant" = \'acme\' AND "device" = \'d-1\''
        " AND time >= 1 AND time <= 2 GROUP BY * LIMIT 3"
    )


# ---------------------------------------------------------------------------------------------------------------- gaps


def gap(first: int, last: int, phase: GapPhase = GapPhase.MISSING, device: str = "d") -> Gap:
    return Gap(f"{device}:{first}:{last}:{phase}", "acme", "north", device, 0, first, last, phase, NOON_US)


def test_gaps_count_what_is_still_missing_once():
    tally = GapTally()
    withdrawn = [gap(1, 10), gap(1, 10, GapPhase.WITHDRAWN), gap(1, 4), gap(6, 10)]
    for record in [*withdrawn, *withdrawn, gap(1, 2, device="e"), gap(1, 9_999_999, GapPhase.SEQ_JUMP)]:
        tally.take(record)
    gaps = tally.sum()
    assert (gaps.messages, gaps.ranges, gaps.devices) == (11, 3, 2)


# -------------------------------------------------------------------------------------------------- the state's ledgers


def test_the_ledger_with_the_highest_applied_offset_is_the_device_s_not_the_last_written():
    device, state = pipeline(), StateTopic()
    device.process([message(0, 1, flow=1.0)])
    state.checkpoint(device)
    device.process([message(1, 2, flow=1.0)._replace(offset=1)])
    state.checkpoint(device)
    ledgers = DeviceLedgers(3)
    for key, value in [*state.records, *state.records[:1], (b"$raw-topic", b"id"), (b"acme/pump-1|10|0", b"x" * 9)]:
        ledgers.take(key, value)
    ((key, ledger),) = ledgers
    assert (key, ledger.applied, ledger.ledger.received) == ("acme/pump-1", 1, 2)
    ledgers.take(b"acme/pump-1", None)
    assert list(ledgers) == []


def stored(**counts) -> DeviceLedger:
    return DeviceLedger(3, 9, Ledger(**counts))


def test_equal_ledgers_do_not_differ_and_every_other_count_is_named():
    audited = {"acme/d": Ledger(received=3, decoded=2, dead_messages={"malformed": 1})}
    same = {"acme/d": stored(received=3, decoded=2, dead_messages={"malformed": 1})}
    assert differences(3, audited, same) == []
    (found,) = differences(3, audited, {"acme/d": stored(received=3, decoded=3, dead_readings={"late": 1})})
    assert found.device == "acme/d"
    assert found.counts == {"decoded": (2, 3), "dead_messages.malformed": (1, 0), "dead_readings.late": (0, 1)}


def test_a_device_that_only_one_side_knows_differs():
    assert [d.device for d in differences(3, {"acme/d": Ledger(received=1)}, {"acme/e": stored(received=1)})] == [
        "acme/d",
        "acme/e",
    ]


def test_a_tenant_with_refused_or_forgotten_devices_is_compared_as_one():
    audited = {"acme/d": Ledger(received=5), "acme/gone": Ledger(received=2), "other/d": Ledger(received=1)}
    state = {"acme/d": stored(received=5), "acme/$": stored(received=2), "other/d": stored(received=1)}
    assert differences(3, audited, state) == []
    state["acme/$"] = stored(received=1)
    assert [(d.device, d.counts) for d in differences(3, audited, state)] == [("acme/$", {"received": (7, 6)})]


def test_in_a_full_partition_what_differs_is_compared_with_what_has_no_device():
    audited = {"acme/d": Ledger(received=5), "acme/refused": Ledger(received=2), "$/$": Ledger(received=1)}
    state = {"acme/d": stored(received=5), "$/$": stored(received=3)}
    assert differences(3, audited, state) == []
    state["$/$"] = stored(received=2)
    assert [d.device for d in differences(3, audited, state)] == ["$/$", "acme/refused"]


def test_one_device_is_compared_unless_its_counts_may_stand_with_others():
    one = stored(received=5)
    assert comparable({"acme/d": one, "acme/e": one}, "acme/d") == {"acme/d": one}
    assert comparable({"acme/d": one, "$/$": one}, "acme/d") == {"acme/d": one}
    assert comparable({"acme/e": one}, "acme/d") == {}
    assert comparable({"acme/d": one, "acme/$": one}, "acme/d") is None
    assert comparable({"acme/e": one, "$/$": one}, "acme/d") is None


def test_devices_that_do_not_add_up_come_first_then_the_most_dead_letters():
    ledgers = {
        "fine": stored(received=5, decoded=5),
        "some": stored(received=2, dead_messages={"malformed": 2}),
        "wrong": stored(received=1),
        "many": stored(received=3, dead_messages={"malformed": 3}),
    }
    assert [key for key, _ in worst_first(ledgers.items())] == ["wrong", "many", "some", "fine"]


# ---------------------------------------------------------------------------------------------------------- the report


def report(account: Account, **more) -> Report:
    told = {"ok": account.ok, "since_us": None, "until_us": NOON_US, "device": None, "account": account}
    rest = {"gaps": GapTally().sum(), "removed": {}, "compared": 0, "differences": [], "seconds": 1.0}
    return Report(**(told | rest | more))


def lost(seq: int) -> Finding:
    return Finding(Missing.NOT_IN_INFLUXDB, "acme/d", f"3:{seq}", seq, NOON_US, ["flow", "gas"])


def test_a_person_is_told_place_device_seq_time_sensors_and_what_is_missing():
    account = Account()
    account.find(lost(7))
    text = tell(report(account, removed={3: 500}))
    assert "3:7  acme/d  seq 7  2026-05-01T12:00:00.000Z  flow, gas  on telemetry.clean, not in InfluxDB" in text
    assert "partition 3 begins at offset 500" in text
    assert "everything is accounted for" not in text


def test_a_sum_that_lacks_something_says_how_much():
    account = Account(ledger=Ledger(received=5, decoded=3, readings_decoded=9, readings_stored=8))
    text = tell(report(account))
    assert "received 5 = decoded 3 + dead-lettered 0 + redelivered 0 + UNACCOUNTED 2" in text
    assert "duplicates 0 + UNACCOUNTED 1" in text


def test_findings_are_bounded_and_the_rest_is_counted():
    whole, part = Account(), Account()
    for seq in range(MOST_FINDINGS + 5):
        part.find(lost(seq))
    whole.add(part)
    assert (len(whole.findings), whole.not_kept) == (MOST_FINDINGS, 5)
    assert whole.by_kind["not_in_influxdb"] == MOST_FINDINGS + 5
    assert f"✗ {MOST_FINDINGS + 5:,} messages or points unaccounted for" in tell(report(whole))


def test_no_kind_of_finding_hides_behind_many_of_another():
    account = Account()
    for seq in range(200):
        account.find(lost(seq))
    account.find(Finding(Missing.NOT_IN_KAFKA, "acme/d", "", None, NOON_US, ["flow"]))
    text = tell(report(account))
    assert text.count(Missing.NOT_IN_KAFKA.value) == 2
    assert "and 175 more" in text


def test_json_has_named_fields():
    account = Account(ledger=Ledger(received=2, decoded=1))
    account.find(lost(7))
    told = json.loads(to_json(report(account)))
    assert told["ok"] is False
    assert told["account"]["ledger"]["missing_messages"] == 1
    assert told["account"]["findings"][0] == {
        "missing": "not_in_influxdb",
        "device": "acme/d",
        "place": "3:7",
        "seq": 7,
        "event_us": NOON_US,
        "sensors": ["flow", "gas"],
        "detail": "",
    }
