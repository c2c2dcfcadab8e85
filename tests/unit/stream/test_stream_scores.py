"""The stream adds nothing to a score and takes nothing away: it is what `services.scoring` alone says."""

import csv
import random
from datetime import UTC, datetime

import pytest
from stream_builders import TEST_DATA, in_batches, log, message, only, pipeline, raw

from schemas import topics
from services.scoring.device import DeviceScorer
from services.scoring.spec import MODELS, ModelSpec
from services.stream.clock_rules import SECOND_US


def recording() -> list[tuple[str, int, float]]:
    """Time as text, as unix µs, and value."""
    with (TEST_DATA / "stream" / "daily_temperature.csv").open() as file:
        rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text, _ in rows]
    return [(text, round(at.timestamp()) * SECOND_US, value) for at, (text, value) in zip(times, rows, strict=True)]


@pytest.mark.parametrize("model", MODELS)
def test_a_recording_through_the_stream_gets_bit_for_bit_the_scores_of_the_scorer_alone(model):
    rows = recording()
    records = log(
        raw({"ts": text, "values": {"temperature": value}}, extra={"received-at": b"%d" % event_us})
        for text, event_us, value in rows
    )
    outputs = in_batches(pipeline(model=model), records, 500)
    alone = DeviceScorer(ModelSpec(name=model))
    scores = only(topics.SCORES, outputs)
    assert len(scores) == len(rows) == 4000
    assert not any(clean.stuck for clean in only(topics.CLEAN, outputs))
    for (_, event_us, value), score in zip(rows, scores, strict=True):
        expected = alone.update(event_us, {"temperature": value})
        assert (score.event_us, score.score, score.alarm_score) == (event_us, expected.score, expected.alarm_score)
        assert (score.sensors, score.severity, score.state) == (expected.sensors, expected.severity, expected.state)
        assert score.progress == expected.progress


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
