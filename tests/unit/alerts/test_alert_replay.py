"""Whatever comes: raised and cleared take turns, and reading again from anywhere gives the same alarms."""

from alert_records import Device, anomaly, window
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.telemetry import Aggregate
from services.alerts import rules, state
from services.alerts.state import DeviceState

RULES = rules.parse(
    """
rules:
  - {name: hot, source: aggregates, when: mean > 80.0}
  - {name: hot-long, source: aggregates, when: mean > 80.0, for: 20s, clear: mean < 70.0}
  - {name: inlet, source: aggregates, when: mean / std > 80.0, sensor: inlet}
  - {name: open, source: anomalies, when: 'severity in ["warning", "critical"]'}
  - {name: open-long, source: anomalies, when: 'severity != "none"', for: 30s}
  - {name: latched, source: anomalies, when: score > 0.5, clear: 'phase == "closed" && score < 0.2'}
"""
)

WINDOWS = st.builds(
    lambda n, mean, sensor, revision, std, provisional: window(
        10 * n, mean, sensor=sensor, revision=revision, std=std, provisional=provisional
    ),
    st.integers(0, 12),
    st.sampled_from([60.0, 75.0, 90.0]),
    st.sampled_from(["inlet", "outlet"]),
    st.integers(0, 2),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
ANOMALIES = st.builds(
    lambda phase, opened, after, revision, severity, score: anomaly(
        phase, opened + after, opened_s=opened, revision=revision, severity=severity, score=score
    ),
    st.sampled_from(["opened", "updated", "closed"]),
    st.sampled_from([0, 5, 40, 70]),
    st.integers(0, 60),
    st.integers(0, 4),
    st.sampled_from(["none", "notice", "warning", "critical"]),
    st.sampled_from([0.1, 0.6, 0.9]),
)


def one_at_a_time(log: list[Anomaly | Aggregate]) -> list[Anomaly | Aggregate]:
    """A device has one anomaly at a time: no two speak of the same moment."""
    whose: dict[int, str] = {}
    return [r for r in log if isinstance(r, Aggregate) or whose.setdefault(r.event_us, r.anomaly) == r.anomaly]


LOGS = st.lists(st.one_of(WINDOWS, ANOMALIES), max_size=40).map(one_at_a_time)


def as_the_stream_writes(log: list[Anomaly | Aggregate]) -> list[Anomaly | Aggregate]:
    """A window after every anomaly record up to its end, as the stream emits them and the intake keeps them."""
    anomalies = [record for record in log if isinstance(record, Anomaly)]
    ordered: list[Anomaly | Aggregate] = []
    for record in log:
        if isinstance(record, Aggregate):
            end_us = record.start_us + record.width_us
            ahead = max((n + 1 for n, a in enumerate(anomalies) if a.event_us <= end_us), default=0)
            ordered += anomalies[:ahead]
            del anomalies[:ahead]
            ordered.append(record)
    return ordered + anomalies


def read(device: Device, log: list[Anomaly | Aggregate], start: int = 0) -> list[AlarmEvent]:
    return [event for offset in range(start, len(log)) for event in device.read(log[offset], offset)]


@settings(max_examples=300, deadline=None)
@given(LOGS)
def test_of_each_rule_raised_and_cleared_take_turns_and_no_id_comes_twice(log: list[Anomaly | Aggregate]):
    events = read(Device(RULES), log)
    assert len({event.id for event in events}) == len(events)
    for rule in RULES.by_name:
        of_rule = [event for event in events if event.rule == rule]
        assert [event.phase for event in of_rule] == (["raised", "cleared"] * len(of_rule))[: len(of_rule)]
        for raised, cleared in zip(of_rule[::2], of_rule[1::2], strict=False):
            assert raised.alarm == cleared.alarm
            assert cleared.at_us >= cleared.raised_us == raised.at_us
            assert cleared.severity == raised.severity


@settings(max_examples=200, deadline=None)
@given(LOGS.map(as_the_stream_writes), st.data())
def test_a_worker_that_starts_from_a_state_and_reads_again_from_before_it_says_what_was_still_to_be_said(
    log: list[Anomaly | Aggregate], data: st.DataObject
):
    stop = data.draw(st.integers(0, len(log)))
    again_from = data.draw(st.integers(0, stop))
    device = Device(RULES)
    before = read(device, log[:stop])
    stored = state.encode(DeviceState(device.anomalies, device.aggregates))
    after = read(device, log, stop)

    restored = state.decode(stored)
    second = Device(RULES)
    second.anomalies, second.aggregates = restored.anomalies, restored.aggregates
    assert read(second, log, again_from) == after
    assert read(Device(RULES), log) == before + after


@settings(max_examples=200, deadline=None)
@given(LOGS, st.data())
def test_of_two_states_the_one_further_on_wins_whichever_was_written_last(
    log: list[Anomaly | Aggregate], data: st.DataObject
):
    early_at = data.draw(st.integers(0, len(log)))
    device = Device(RULES)
    read(device, log[:early_at])
    early = DeviceState(device.anomalies, device.aggregates)
    read(device, log, early_at)
    late = DeviceState(device.anomalies, device.aggregates)
    assert state.merged(early, late) == state.merged(late, early) == late
