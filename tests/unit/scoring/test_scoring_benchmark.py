"""The product's defaults as benchmarks see them: the same scorer, no second tuned copy."""

from datetime import datetime, timedelta

from scoring_streams import START_US, Feed, noise

from services.scoring import make_device_scorer, make_sensor_scorer


def test_one_signal_gets_the_alarm_score_of_the_product():
    values = [*noise(300, 1), 40.0, 41.0]
    scorer, feed = make_sensor_scorer(), Feed()
    start = datetime(2023, 11, 14, 22, 13, 20)
    given = [scorer.update(start + timedelta(seconds=i + 1), value) for i, value in enumerate(values)]
    assert given == [score.alarm_score for score in feed.all(values)]


def test_a_device_gets_the_score_of_the_product():
    values = [*noise(300, 1), 40.0, 41.0]
    scorer, feed = make_device_scorer(), Feed()
    given = [scorer.update(START_US / 1e6 + i + 1, {"temperature": value}) for i, value in enumerate(values)]
    assert given == [score.score for score in feed.all(values)]
    assert given[-1] >= 0.5
