"""The life of an alarm, example by example."""

from alert_records import CLEARED, RAISED, Device, anomaly, said, window

from services.alerts import engine, rules
from services.alerts.rules import Source

HOT = """
rules:
  - name: hot
    source: aggregates
    when: mean > 80.0
"""
HOT_FOR_30S = HOT + "    for: 30s\n"
HOT_UNTIL_70 = HOT + "    clear: mean < 70.0\n"
OPEN = """
rules:
  - name: open
    source: anomalies
    when: severity in ["warning", "critical"]
"""
OPEN_FOR_60S = OPEN + "    for: 60s\n"


def test_a_window_over_the_limit_raises_and_the_next_one_under_it_clears():
    device = Device(HOT)
    assert said(device.read(window(0, 85))) == [(RAISED, 10)]
    assert said(device.read(window(10, 90))) == []
    assert said(device.read(window(20, 75))) == [(CLEARED, 30)]
    assert said(device.read(window(30, 85))) == [(RAISED, 40)]


def test_what_is_raised_and_cleared_is_one_alarm_and_the_next_is_another():
    device = Device(HOT)
    events = [e for n, mean in enumerate([85, 75, 85, 75]) for e in device.read(window(10 * n, mean))]
    first_raised, first_cleared, second_raised, second_cleared = events
    assert first_raised.alarm == first_cleared.alarm != second_raised.alarm == second_cleared.alarm
    assert first_raised.id == f"{first_raised.alarm}:raised"
    assert first_cleared.id == f"{first_raised.alarm}:cleared"
    assert first_cleared.raised_us == first_raised.at_us
    assert len({event.id for event in events}) == 4


def test_for_is_the_event_time_that_the_condition_must_hold():
    device = Device(HOT_FOR_30S)
    assert device.read(window(0, 85)) == device.read(window(10, 85)) == []
    assert said(device.read(window(20, 85))) == [(RAISED, 30)]


def test_for_begins_anew_when_the_condition_did_not_hold_in_between():
    device = Device(HOT_FOR_30S)
    for n, mean in enumerate([85, 85, 75, 85, 85]):
        assert device.read(window(10 * n, mean)) == []
    assert said(device.read(window(50, 85))) == [(RAISED, 60)]


def test_with_a_clear_condition_the_alarm_stands_between_the_two_limits():
    device = Device(HOT_UNTIL_70)
    device.read(window(0, 85))
    assert device.read(window(10, 75)) == []
    assert said(device.read(window(20, 69))) == [(CLEARED, 30)]


def test_several_sensors_over_the_limit_are_one_alarm_until_the_last_is_under_it():
    device = Device(HOT)
    assert said(device.read(window(0, 85, sensor="inlet"))) == [(RAISED, 10)]
    assert device.read(window(0, 85, sensor="outlet")) == []
    assert device.read(window(10, 60, sensor="inlet")) == []
    assert said(device.read(window(10, 60, sensor="outlet"))) == [(CLEARED, 20)]


def test_a_rule_asks_only_about_its_sensors_and_its_window():
    device = Device(HOT + "    sensor: [inlet]\n    window: 1m\n")
    assert device.read(window(0, 85, sensor="outlet", width_s=60)) == []
    assert device.read(window(0, 85, sensor="inlet", width_s=10)) == []
    assert said(device.read(window(0, 85, sensor="inlet", width_s=60))) == [(RAISED, 60)]


def test_a_window_older_than_the_last_changes_nothing():
    device = Device(HOT)
    device.read(window(20, 85))
    assert device.read(window(10, 60)) == []
    assert said(device.read(window(30, 60))) == [(CLEARED, 40)]


def test_the_last_window_corrected_counts_as_corrected():
    device = Device(HOT)
    device.read(window(0, 85))
    assert said(device.read(window(0, 79, revision=1))) == [(CLEARED, 10)]
    assert device.read(window(0, 85)) == []


def test_raised_cleared_and_raised_again_by_corrections_of_one_window_are_two_alarms():
    device = Device(HOT)
    first, _, second = (device.read(window(0, mean, revision=n))[0] for n, mean in enumerate([85, 79, 86]))
    assert first.raised_us == second.raised_us
    assert first.id != second.id


def test_a_window_that_is_still_open_decides_nothing():
    device = Device(HOT)
    assert device.read(window(0, 85, provisional=True)) == []
    assert said(device.read(window(0, 85))) == [(RAISED, 10)]


def test_a_record_at_or_below_the_applied_offset_is_skipped_whole():
    device = Device(HOT)
    device.read(window(0, 85), offset=7)
    assert device.read(window(10, 60), offset=7) == []
    assert said(device.read(window(10, 60), offset=8)) == [(CLEARED, 20)]


def test_a_condition_without_a_value_neither_raises_nor_clears():
    device = Device(HOT.replace("mean > 80.0", "mean / std > 80.0"))
    device.read(window(0, 85, std=0.0))
    assert device.failed == ["hot"]
    assert said(device.read(window(10, 85))) == [(RAISED, 20)]
    assert device.read(window(20, 85, std=0.0)) == []
    assert said(device.read(window(30, 60))) == [(CLEARED, 40)]


def test_an_anomaly_raises_when_it_opens_and_clears_when_it_closes():
    device = Device(OPEN)
    assert said(device.read(anomaly("opened", 5, opened_s=5))) == [(RAISED, 5)]
    assert device.read(anomaly("updated", 20, opened_s=5, revision=1, severity="critical")) == []
    assert said(device.read(anomaly("closed", 65, opened_s=5, revision=2))) == [(CLEARED, 65)]


def test_an_anomaly_that_grows_into_the_condition_raises_then():
    device = Device(OPEN)
    assert device.read(anomaly("opened", 0, severity="notice")) == []
    (event,) = device.read(anomaly("updated", 20, revision=1, severity="critical"))
    assert (event.phase, event.at_us, event.severity) == ("raised", 20_000_000, "critical")


def test_the_event_says_who_what_and_why():
    device = Device(OPEN + '    summary: "{device} at {site}: {sentence}"\n    labels: {team: mechanics}\n')
    (event,) = device.read(anomaly("opened", 0))
    assert event.summary == "pump-1 at berlin: temperature 95.0, expected 20.0 to 40.0"
    assert (event.rule, event.tenant, event.site, event.device) == ("open", "acme", "berlin", "pump-1")
    assert event.labels == {"team": "mechanics"}
    assert event.cause == "acme/pump-1:0:0"


def test_a_short_anomaly_never_raises_a_rule_with_for():
    device = Device(OPEN_FOR_60S)
    assert device.read(anomaly("opened", 0)) == []
    assert device.read(anomaly("closed", 59, revision=1)) == []


def test_aggregates_of_the_device_tell_that_an_anomaly_has_been_open_long_enough():
    device = Device(OPEN_FOR_60S)
    device.read(anomaly("opened", 0))
    assert device.read(window(40, 20)) == []
    assert said(device.read(window(50, 20))) == [(RAISED, 60)]
    assert device.read(window(60, 20)) == []
    assert said(device.read(anomaly("closed", 90, revision=1))) == [(CLEARED, 90)]


def test_a_late_end_shows_the_same_alarm_as_the_aggregates_would_have():
    by_time, by_end = Device(OPEN_FOR_60S), Device(OPEN_FOR_60S)
    by_time.read(anomaly("opened", 0))
    by_end.read(anomaly("opened", 0))
    closed = anomaly("closed", 90, revision=1)
    ids_by_time = [e.id for e in by_time.read(window(60, 20)) + by_time.read(closed)]
    assert ids_by_time == [e.id for e in by_end.read(closed)]
    assert len(ids_by_time) == 2


def test_an_anomaly_rule_with_clear_stands_until_clear_holds():
    device = Device(OPEN + '    clear: phase == "closed" && score < 0.3\n')
    device.read(anomaly("opened", 0))
    assert device.read(anomaly("closed", 40, revision=1, score=0.4)) == []
    device.read(anomaly("opened", 50, opened_s=50))
    assert said(device.read(anomaly("closed", 99, opened_s=50, revision=1, score=0.2))) == [(CLEARED, 99)]


def test_a_new_anomaly_without_the_old_ones_end_is_still_one_alarm():
    device = Device(OPEN)
    device.read(anomaly("opened", 0))
    assert device.read(anomaly("opened", 50, opened_s=50)) == []
    assert said(device.read(anomaly("closed", 99, opened_s=50, revision=1))) == [(CLEARED, 99)]


def test_a_new_anomaly_that_the_rule_does_not_mean_clears_the_alarm_of_one_whose_end_was_lost():
    device = Device(OPEN)
    device.read(anomaly("opened", 0))
    assert said(device.read(anomaly("opened", 50, opened_s=50, severity="notice"))) == [(CLEARED, 50)]


def test_a_new_anomaly_begins_its_own_time():
    device = Device(OPEN_FOR_60S)
    device.read(anomaly("opened", 0))
    device.read(anomaly("opened", 50, opened_s=50))
    assert device.read(window(60, 20)) == []
    assert said(device.read(window(100, 20))) == [(RAISED, 110)]


def test_an_end_that_is_read_again_does_not_end_the_anomaly_that_began_with_the_same_reading():
    device = Device(OPEN)
    closed = anomaly("closed", 50, revision=1)
    device.read(anomaly("opened", 0), offset=0)
    device.read(closed, offset=1)
    device.read(anomaly("opened", 50, opened_s=50), offset=2)
    assert device.read(closed, offset=1) == []
    assert said(device.read(anomaly("closed", 99, opened_s=50, revision=1), offset=3)) == [(CLEARED, 99)]


def test_records_of_an_anomaly_before_the_last_change_nothing():
    device = Device(OPEN)
    device.read(anomaly("opened", 50, opened_s=50))
    assert device.read(anomaly("closed", 40, revision=3)) == []
    assert device.read(anomaly("opened", 50, opened_s=50)) == []


def test_two_rules_are_two_alarms():
    device = Device(HOT + OPEN.replace("rules:\n", ""))
    (hot,) = device.read(window(0, 85))
    (opened,) = device.read(anomaly("opened", 5, opened_s=5))
    assert (hot.rule, opened.rule) == ("hot", "open")


def test_an_alarm_of_a_rule_that_is_gone_is_cleared():
    device = Device(HOT)
    device.read(window(0, 85))
    step = engine.retire(rules.parse(OPEN), Source.AGGREGATES, device.aggregates)
    assert said(list(step.events)) == [(CLEARED, 10)]
    assert step.events[0].cause == engine.RULE_REMOVED
    assert step.watch.rules == {}


def test_an_alarm_of_a_sensor_that_the_rule_no_longer_names_is_cleared():
    device = Device(HOT)
    device.read(window(0, 85, sensor="inlet"))
    narrower = rules.parse(HOT + "    sensor: outlet\n")
    assert said(list(engine.retire(narrower, Source.AGGREGATES, device.aggregates).events)) == [(CLEARED, 10)]
    assert engine.retire(device.rules, Source.AGGREGATES, device.aggregates).watch == device.aggregates
