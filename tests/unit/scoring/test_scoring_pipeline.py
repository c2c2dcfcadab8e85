"""River models behind a spec: they score as River would, are guarded as the default is, and break without harm."""

import math

import pytest
from river import compose
from river.anomaly import LODA, GaussianScorer, HalfSpaceTrees
from river.base import AnomalyDetector
from river.preprocessing import StandardScaler
from scoring_streams import SECOND_US, SPECS, START_US, Feed, alarms, noise, spec_of

from services.scoring.band import Band
from services.scoring.build import build_sensor
from services.scoring.centre import Centre
from services.scoring.explain import sentence
from services.scoring.parts import registry
from services.scoring.parts.registry import Model, offer
from services.scoring.spec import ModelSpec
from services.scoring.state import encode, register_fields
from services.scoring.views.pipeline import PipelineView
from services.scoring.views.view import Moment

PIPELINES = [name for name in SPECS if name not in ("bands", "light")]


def moment() -> Moment:
    """Of a signal with mean 0 and mean absolute deviation 1, whose readings lie in [-3, 3]."""
    centre = Centre()
    centre.deviation = 1.0
    found = Moment(centre)
    found.event_us, found.alarms_per_second, found.low, found.high = START_US, 5e-4, -3.0, 3.0
    return found


def surprises(spec: ModelSpec, values: list[float]) -> list[float]:
    """What the view makes of each value's score."""
    view, now, found = PipelineView(spec.pipeline), moment(), []
    for value in values:
        view.evidence(value, now)
        found.append(view._latest)
        view.learn(now)
    return found


def test_a_share_counts_as_surprise_signed_by_its_side():
    values, model = list(noise(400, 1, 0.0)), GaussianScorer()
    expected = []
    for value in values:
        level = 0.5 + value / 16.0
        expected.append(math.copysign(-math.log(1.0 - model.score_one(None, level)), value))
        model.learn_one(None, level)
    assert surprises(ModelSpec("gaussian"), values)[1:] == expected[1:]


def test_scaler_and_model_score_and_learn_as_in_a_river_pipeline():
    spec = ModelSpec.parse({"features": ["level", "change"], "scaler": "standard", "model": "loda"})
    pipeline = compose.Pipeline(StandardScaler(), LODA(n_random_cuts=20, n_bins=10, seed=1))
    values, expected, last = list(noise(400, 2, 0.0)), [], 0.0
    for value in values:
        x = {"level": value, "change": value - last}
        last = value
        expected.append(pipeline.score_one(x))
        pipeline.learn_one(x)
    assert surprises(spec, values)[201:] == expected[201:]


def test_trees_see_their_features_within_0_and_1():
    model = HalfSpaceTrees(n_trees=5, height=4, window_size=100, seed=1)
    values, expected, last = list(noise(400, 3, 0.0)), [], 0.0
    for value in values:
        x = {"level": 0.5 + value / 16.0, "change": 0.5 + (value - last) / 32.0}
        last = value
        expected.append(math.copysign(-math.log(1.0 - model.score_one(x)), value))
        model.learn_one(x)
    assert surprises(ModelSpec("half_space_trees"), values)[1:] == expected[1:]


@pytest.mark.parametrize("name", ["gaussian", "half_space_trees"])
def test_the_short_way_says_what_the_long_way_says(name):
    spec = ModelSpec(name)
    (_, short, _), long, now = build_sensor(spec).views, PipelineView(spec.pipeline), moment()
    assert type(short) is not type(long)
    for i, value in enumerate([*noise(900, 11, 0.0), *noise(100, 12, 0.0, 5.0)]):
        assert short.evidence(value, now) == pytest.approx(long.evidence(value, now), abs=1e-9)
        for view in (short, long):
            if i % 7 == 3:
                view.hold(abrupt=i % 2 == 0)
            elif i % 97 == 5:
                view.recover(now)
                view.release(0.5, 3.0)
            else:
                view.learn(now)
                view.relax(1e-4, 100.0)


@pytest.mark.parametrize("name", ["snarimax", "holt_winters"])
def test_a_forecast_that_is_wrong_is_evidence_though_the_reading_lies_in_its_range(name):
    def signal(i: int) -> float:
        return 2.5 * math.sin(i / 15)

    view, now = PipelineView(spec_of(name).pipeline), moment()
    for i in range(2000):
        view.evidence(signal(i), now)
        view.learn(now)
    assert view.evidence(signal(2000), now) == 0.0
    assert view.evidence(-signal(2005), now) > 1.0


@pytest.mark.parametrize("name", PIPELINES)
def test_a_fault_alarms_names_its_sensor_and_is_not_learnt(name):
    feed = Feed(spec_of(name))
    feed.all(noise(900, 4))
    first = feed.one(200.0)
    assert first.alarm_score >= 0.5
    (culprit,) = feed.scorer.culprits()
    said = sentence("pump", [culprit], first.score)
    assert "temperature read 200, above the usual 1" in said
    assert all(score.score >= 0.5 for score in feed.all(noise(300, 5, mean=200.0)))
    assert alarms(feed.all(noise(60, 6))) <= 1
    assert feed.one(200.0).score >= 0.5


@pytest.mark.parametrize("name", PIPELINES)
def test_a_sensor_that_stands_still_alarms_and_is_not_learnt(name):
    feed = Feed(spec_of(name))
    feed.all(noise(2000, 14))
    assert alarms(feed.all([20.5] * 200)) == 1
    sensor = feed.scorer._sensors["temperature"]
    learnt, model = sensor.learnt, encode(sensor.views[1].model)
    feed.all([20.5] * 300)
    assert (sensor.learnt, encode(sensor.views[1].model)) == (learnt, model)


@pytest.mark.parametrize("name", PIPELINES)
def test_clean_noise_seldom_alarms_and_warms_up_as_the_default_does(name):
    scores = Feed(spec_of(name)).all(noise(4000, 7))
    assert alarms(scores) <= 1
    assert [score.progress for score in scores] == [score.progress for score in Feed().all(noise(4000, 7))]


class Fragile(AnomalyDetector):
    """Breaks in the way that its name says once it has learnt 300 readings."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.learnt = 0

    def learn_one(self, x: dict[str, float]) -> None:
        self.learnt += 1
        if self.how == "learning" and self.learnt > 300:
            raise OverflowError

    def score_one(self, x: dict[str, float]) -> float:
        if self.learnt < 300:
            return abs(x["level"])
        match self.how:
            case "nan":
                return math.nan
            case "infinite":
                return math.inf
            case "domain":
                return math.log(0.0)
        return abs(x["level"])


register_fields(Fragile, "test.fragile.1", "learnt")


@pytest.mark.parametrize("how", ["nan", "infinite", "domain", "learning"])
def test_a_broken_model_begins_anew_and_is_counted_and_poisons_nothing(monkeypatch, how):
    monkeypatch.setattr(registry, "_offered", dict(registry._offered))
    offer(Model(name="fragile", says="", build=lambda: Fragile(how)))
    feed, level_alone = Feed(ModelSpec("fragile")), Feed(ModelSpec("light"))
    values = [*noise(1000, 8), 60.0]
    scores, beside = feed.all(values), level_alone.all(values)
    assert sum(score.resets for score in scores) == 3
    assert all(math.isfinite(score.score) for score in scores)
    assert alarms(scores[:-1]) <= alarms(beside[:-1]) + 1
    assert scores[-1].score >= 0.5


def test_a_forecaster_that_diverges_begins_anew_before_it_can_alarm():
    feed = Feed(ModelSpec.parse({"model": {"name": "snarimax", "p": 30, "learning_rate": 0.5}}))
    scores = feed.all(value + 5 * math.sin(i / 20) for i, value in enumerate(noise(2000, 9)))
    assert sum(score.resets for score in scores) > 3
    assert alarms(scores) == 0


def test_asking_for_a_score_breaks_nothing_and_resets_nothing(monkeypatch):
    monkeypatch.setattr(registry, "_offered", dict(registry._offered))
    offer(Model(name="fragile", says="", build=lambda: Fragile("nan")))
    feed = Feed(ModelSpec("fragile"))
    feed.all(noise(332, 8))
    before = feed.scorer.to_state()
    feed.scorer.score(feed.now_us + SECOND_US, {"temperature": 20.0})
    assert feed.scorer.to_state() == before
    feed.all([20.0])
    assert feed.scorer.to_state() != before


def test_what_its_scores_mean_begins_once_the_model_has_settled():
    view, now = PipelineView(ModelSpec("loda").pipeline), moment()
    for value in noise(200, 10, 0.0):
        assert view.evidence(value, now) == 0.0
        view.learn(now)
    assert (view.band.low, view.band.high) == (Band().low, Band().high)
