"""The stream adds nothing to a score and takes nothing away: it is what `services.scoring` alone says."""

import csv
import random
from datetime import UTC, datetime
from functools import cache

import pytest
from stream_builders import TEST_DATA, at, in_batches, log, message, only, pipeline, raw

from schemas import topics
from services.runtime.routes import load_routes
from services.scoring.device import DeviceScorer
from services.scoring.spec import BUILT_IN, MODELS, ModelSpec
from services.stream.clock_rules import SECOND_US
from services.stream.device_types import DeviceType, DeviceTypes
from services.stream.metrics import PipelineCollector
from services.stream.pipeline import PartitionPipeline


@cache
def recording() -> list[tuple[str, int, float]]:
    """Time as text, as unix µs, and value."""
    with (TEST_DATA / "stream" / "daily_temperature.csv").open() as file:
        rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text, _ in rows]
    return [(text, round(at.timestamp()) * SECOND_US, value) for at, (text, value) in zip(times, rows, strict=True)]


@pytest.mark.parametrize("model", MODELS)
def test_a_recording_through_the_stream_gets_bit_for_bit_the_scores_of_the_scorer_alone(model):
    # The stream hands readings to all models in the same way; the built-in ones are held to the whole recording.
    rows = recording() if model in BUILT_IN else recording()[:1_000]
    records = log(
        raw({"ts": text, "values": {"temperature": value}}, extra={"received-at": b"%d" % event_us})
        for text, event_us, value in rows
    )
    outputs = in_batches(pipeline(model=model), records, 500)
    alone = DeviceScorer(ModelSpec(name=model))
    scores = only(topics.SCORES, outputs)
    assert len(scores) == len(rows)
    assert not any(clean.stuck for clean in only(topics.CLEAN, outputs))
    for (_, event_us, value), score in zip(rows, scores, strict=True):
        expected = alone.update(event_us, {"temperature": value})
        assert (score.event_us, score.score, score.alarm_score) == (event_us, expected.score, expected.alarm_score)
        assert (score.sensors, score.severity, score.state) == (expected.sensors, expected.severity, expected.state)
        assert score.progress == expected.progress


def test_models_that_break_are_counted_and_shown():
    diverging = ModelSpec.parse({"model": {"name": "snarimax", "p": 30, "learning_rate": 0.5}})
    partition = PartitionPipeline(0, load_routes(None), DeviceTypes({"generic": DeviceType(model=diverging)}, []))
    numbers = random.Random(3)
    partition.process(log(message(i, i, flow=numbers.gauss(20, 1)) for i in range(900)))
    assert partition.model_resets > 1
    shown = {family.name: family.samples[0].value for family in PipelineCollector(lambda: [partition]).collect()}
    assert shown["weir_stream_model_resets"] == partition.model_resets


def test_what_is_out_of_order_is_scored_and_not_learnt():
    numbers = random.Random(1)
    values = [numbers.gauss(20, 1) + (4 if i % 50 == 0 else 0) for i in range(600)]
    disturbed = sorted(range(600), key=lambda i: i if i % 50 else i + 3.5)
    assert disturbed[48:56] == [48, 49, 51, 52, 53, 50, 54, 55]
    records = log(message(i, i, received=600, flow=values[i]) for i in disturbed)
    alone, newest = DeviceScorer(ModelSpec(name="gaussian")), 0
    for i, score in zip(disturbed, only(topics.SCORES, pipeline().process(records)), strict=True):
        assert score.seq == i
        expected = alone.update(score.event_us, {"flow": values[i]}, learn=score.event_us >= newest)
        newest = max(newest, score.event_us)
        assert score.sensors == expected.sensors


def told_sensor_by_sensor(seconds: int, fault_of_gas: range = range(0)) -> list:
    """A device that uploads a minute at a time: all of its flow, then all of its gas."""
    numbers = random.Random(2)
    minutes = []
    for start in range(0, seconds, 60):
        span = range(start, start + 60)
        elements = [{"ts": at(s), "values": {"flow": numbers.gauss(20, 0.2)}} for s in span]
        elements += [{"ts": at(s), "values": {"gas": numbers.gauss(5, 0.2) + 9 * (s in fault_of_gas)}} for s in span]
        minutes.append(raw(elements, received=start + 61))
    return log(minutes)


def test_a_sensor_that_is_told_of_after_another_learns_all_the_same():
    scores = only(topics.SCORES, pipeline(model="bands").process(told_sensor_by_sensor(600)))
    last = {sensor: score for score in scores for sensor in score.sensors}
    assert {sensor: score.state for sensor, score in last.items()} == {"flow": "ready", "gas": "ready"}
    assert 4 < last["gas"].sensors["gas"].expected_low < 5 < last["gas"].sensors["gas"].expected_high < 6


def test_a_fault_of_a_sensor_that_is_told_of_after_another_opens_an_anomaly_and_closes_it():
    outputs = pipeline(model="bands").process(told_sensor_by_sensor(900, range(730, 750)))
    opened, *_, closed = only(topics.ANOMALIES, outputs)
    assert (opened.phase, opened.culprit) == ("opened", "gas")
    assert at(730) <= opened.opened_us <= at(733)
    assert closed.phase == "closed"
    assert at(745) <= closed.end_us <= at(752)


def test_an_anomaly_does_not_open_before_the_end_of_the_one_before():
    """Else a second one could begin at the same moment, which is its name."""
    numbers = random.Random(4)
    warm = log(message(s, flow=numbers.gauss(20, 0.2), gas=numbers.gauss(5, 0.2)) for s in range(300))
    device = pipeline(model="bands")
    device.process(warm)
    upload = [{"ts": at(s), "values": {"flow": 20 + 9 * (s < 310)}} for s in range(301, 360)]
    upload += [{"ts": at(s), "values": {"gas": 5 + 9 * (s < 310)}} for s in range(301, 360)]
    anomalies = only(topics.ANOMALIES, device.process(log([raw(upload, received=361)], start=300)))
    assert [a.phase for a in anomalies] == ["opened", "closed"]
    assert {a.culprit for a in anomalies} == {"flow"}
    assert len({a.id for a in anomalies}) == 2
