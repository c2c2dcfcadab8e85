"""Anomalies: opened, updated, closed over a fault of a warm device."""

import itertools
import random

import pytest
from stream_builders import SECOND_US, StateTopic, at, bytes_of, log, message, only, outputs_of, pipeline

from schemas import topics
from schemas.anomaly import AnomalyPhase, Culprit
from schemas.telemetry import ModelState, Severity
from services.scoring.device import DeviceScore
from services.stream.anomalies import QUIET_US, Whose, step

WARM = 600


def fault(second: int) -> float:
    return 8.0 if WARM <= second < WARM + 20 else 0.0


def plant(seconds: int, fault=fault, start: int = 0) -> list:
    """A device at 1 Hz whose flow is noise about 20; `fault` is added to it."""
    numbers = random.Random(3)
    values = [(20 + numbers.gauss(0, 0.2), 5 + numbers.gauss(0, 0.2)) for _ in range(seconds)]
    return [
        message(second, second, flow=flow + fault(second), gas=gas)
        for second, (flow, gas) in enumerate(values)
        if second >= start
    ]


def test_a_fault_of_a_warm_device_opens_an_anomaly_and_thirty_quiet_seconds_close_it():
    outputs = outputs_of(*plant(WARM + 120), model="bands")
    anomalies = only(topics.ANOMALIES, outputs)
    opened, closed = anomalies[0], anomalies[-1]
    assert [opened.phase, closed.phase] == [AnomalyPhase.OPENED, AnomalyPhase.CLOSED]
    assert {a.anomaly for a in anomalies} == {opened.anomaly} == {f"acme/pump-1:{opened.opened_us}"}
    assert [a.revision for a in anomalies] == list(range(len(anomalies)))
    assert len({a.id for a in anomalies}) == len(anomalies)
    assert at(WARM) <= opened.opened_us == opened.event_us <= at(WARM + 3)
    assert (opened.culprit, opened.end_us) == ("flow", None)
    assert opened.culprits[0].observed > 25 > opened.culprits[0].expected_high
    assert "flow" in opened.sentence
    assert closed.end_us >= at(WARM + 15)
    assert closed.event_us - closed.end_us == QUIET_US
    assert closed.peak >= opened.peak >= 0.5


def test_a_device_has_one_anomaly_open_at_a_time():
    def storms(second: int) -> float:
        return 8.0 + second / 100 if second >= WARM and second % 97 < 12 else 0.0

    open_one = None
    for anomaly in only(topics.ANOMALIES, outputs_of(*plant(WARM + 1200, storms), model="bands")):
        if anomaly.phase is AnomalyPhase.OPENED:
            assert open_one is None
            open_one = anomaly.anomaly
        assert anomaly.anomaly == open_one
        if anomaly.phase is AnomalyPhase.CLOSED:
            open_one = None


def test_an_open_anomaly_goes_on_through_a_restart():
    records = log(plant(WARM + 120))
    expected = bytes_of(only_anomalies(pipeline(model="bands").process(records)))
    worker, state = pipeline(model="bands"), StateTopic()
    outputs = worker.process(records[: WARM + 10])
    state.checkpoint(worker)
    outputs += pipeline(model="bands", restored=state.read()).process(records[WARM + 10 :])
    assert bytes_of(only_anomalies(outputs)) == expected
    assert len(expected) >= 2


def only_anomalies(outputs):
    return [output for output in outputs if output.topic == topics.ANOMALIES]


def test_late_readings_open_nothing():
    quiet = plant(WARM)
    late = message(WARM - 5, WARM, received=WARM, flow=500.0, gas=5.0)
    outputs = outputs_of(*quiet, message(WARM + 1, WARM + 1, flow=20.0, gas=5.0), late, model="bands")
    assert only(topics.ANOMALIES, outputs) == []
    assert only(topics.SCORES, outputs)[-1].score > 0.5


# --------------------------------------------------------------------------------------------------------- step by step


class Life:
    """One device's anomaly, fed with scores, one a second."""

    def __init__(self) -> None:
        self.known = None
        self.second = 0
        self.blamed = "flow"

    def score(self, score: float, alarm: float | None = None, *, is_held: bool = False) -> AnomalyPhase | None:
        severity = Severity.NONE if score < 0.5 else Severity.NOTICE if score < 0.7 else Severity.WARNING
        scored = DeviceScore(
            score, score if alarm is None else alarm, severity, ModelState.READY, 1.0, {}, is_held=is_held
        )
        culprits = [Culprit(self.blamed, 1.0, 30.0, 19.0, 21.0)]
        whose = Whose("acme/pump-1", "acme", "north", "pump-1", "generic")
        self.known, self.record = step(self.known, scored, at(self.second), whose, lambda: culprits)
        self.second += 1
        return None if self.record is None else self.record.phase


def test_only_an_alarm_opens_but_any_score_over_the_line_keeps_it_open():
    life = Life()
    assert life.score(0.9, alarm=0.49) is None
    assert life.score(0.9) is AnomalyPhase.OPENED
    assert [life.score(0.6, alarm=0.1) for _ in range(100)] == [None] * 100
    assert [life.score(0.1) for _ in range(30)] == [None] * 29 + [AnomalyPhase.CLOSED]
    assert life.record.end_us == at(101)
    assert life.known is None


def test_it_is_updated_when_the_peak_reaches_another_severity_or_names_another_culprit():
    life = Life()
    assert life.score(0.55) is AnomalyPhase.OPENED
    assert life.score(0.60) is None
    assert life.score(0.75) is AnomalyPhase.UPDATED
    assert (life.record.severity, life.record.peak, life.record.revision) == (Severity.WARNING, 0.75, 1)
    life.blamed = "gas"
    assert life.score(0.74) is None
    assert life.score(0.76) is AnomalyPhase.UPDATED
    assert (life.record.culprit, life.record.revision) == ("gas", 2)


def test_a_score_of_a_sensor_that_the_message_lacks_keeps_it_open_and_tells_nothing_new():
    life = Life()
    assert life.score(0.55) is AnomalyPhase.OPENED
    life.blamed = "gas"
    assert [life.score(0.9, alarm=0.0, is_held=True) for _ in range(60)] == [None] * 60
    assert life.score(0.9) is AnomalyPhase.UPDATED


def test_quiet_counts_from_the_last_reading_over_the_line():
    life = Life()
    life.score(0.9)
    for _ in range(5):
        assert [life.score(0.1) for _ in range(29)] == [None] * 29
        assert life.score(0.9, alarm=0.49) is None
    assert QUIET_US == 30 * SECOND_US


@pytest.mark.parametrize("gap", [30, 3600])
def test_a_pause_closes_with_the_first_quiet_reading_after_it(gap):
    life = Life()
    life.score(0.9)
    life.second += gap - 1
    assert life.score(0.1) is AnomalyPhase.CLOSED


def test_the_next_one_has_another_name():
    life = Life()
    names = set()
    for _ in range(3):
        life.score(0.9)
        names.add(life.record.anomaly)
        list(itertools.takewhile(lambda phase: phase is None, (life.score(0.1) for _ in range(40))))
    assert len(names) == 3
