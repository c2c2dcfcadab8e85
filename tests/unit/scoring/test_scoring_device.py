"""What an operator may rely on: seen on one device at one reading a second."""

import pytest
from scoring_streams import MODELS, SECOND_US, START_US, Feed, alarms, noise, warm

from schemas.telemetry import ModelState, Severity
from services.scoring.device import DeviceScorer
from services.scoring.spec import ModelSpec


def test_a_new_device_learns_first_and_says_so():
    feed = Feed()
    scores = feed.all(noise(120, seed=1))
    assert [s.state for s in scores[:99]] == [ModelState.LEARNING] * 99
    assert scores[-1].state is ModelState.READY
    assert [s.progress for s in scores] == sorted(s.progress for s in scores)
    assert scores[49].progress == 0.5
    assert all(s.alarm_score == 0.0 for s in scores[:100])
    assert scores[10].sensors["temperature"].expected_low is None
    assert (
        15 < scores[-1].sensors["temperature"].expected_low < 20 < scores[-1].sensors["temperature"].expected_high < 25
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("history", [120, 600])
def test_a_step_of_ten_deviations_raises_an_alarm_within_six_readings(model, history):
    found = 0
    for seed in range(10):
        feed = warm(seed, ModelSpec(name=model), history)
        found += alarms(feed.all(noise(6, seed + 100, mean=30.0))) > 0
    assert found >= (10 if model in ("bands", "light") else 9)


def test_an_excursion_is_one_alarm_though_its_score_stays_high():
    feed = warm(seed=3)
    fault = feed.all(noise(60, seed=4, mean=30.0))
    assert alarms(fault) <= 2
    assert all(s.score >= 0.5 for s in fault[2:])


@pytest.mark.parametrize("seed", range(3))
def test_a_fault_of_a_thousand_readings_is_not_learnt(seed):
    feed = warm(seed)
    fault = feed.all(noise(1000, seed + 50, mean=30.0))
    assert all(s.score >= 0.5 for s in fault[-20:])


@pytest.mark.parametrize(("deviations", "readings"), [(5, 10), (10, 1), (100, 1)])
def test_the_score_falls_soon_after_the_return_to_normal(deviations, readings):
    feed = warm(seed=5, readings=3600)
    feed.all(noise(60, seed=6, mean=20.0 + deviations))
    normal = feed.all(noise(100, seed=7))
    assert all(s.score < 0.5 for s in normal[readings:])


def test_a_regime_is_adopted_after_its_stated_time_of_1_100_steps():
    feed = Feed(step_s=60)
    feed.all(noise(1000, seed=1))
    changed = feed.all(noise(1200, seed=2, mean=40.0))
    adopted = [i for i, s in enumerate(changed) if s.adopted]
    assert len(adopted) == 1
    assert 1090 <= adopted[0] <= 1170
    assert all(s.score >= 0.5 for s in changed[10:1080])
    assert all(s.score < 0.5 for s in changed[1175:])
    assert alarms(changed) <= 2
    assert all(s.score < 0.5 for s in feed.all(noise(60, seed=3, mean=40.0)))


def test_a_fast_sensor_s_regime_is_adopted_after_six_hours():
    feed = Feed(step_s=15)
    feed.all(noise(1000, seed=1))
    changed = feed.all(noise(1500, seed=2, mean=40.0))
    adopted = [i for i, s in enumerate(changed) if s.adopted]
    assert len(adopted) == 1
    assert 1435 <= adopted[0] <= 1450
    assert all(s.score >= 0.5 for s in changed[10:1430])


def test_a_change_that_goes_back_before_its_time_is_not_adopted():
    feed = Feed(step_s=60)
    feed.all(noise(1000, seed=1))
    feed.all(noise(600, seed=2, mean=40.0))
    back = feed.all(noise(1000, seed=3))
    assert not any(s.adopted for s in back)
    assert all(s.score < 0.5 for s in back[200:])


def test_clean_noise_raises_few_alarms():
    assert sum(alarms(Feed().all(noise(15_000, seed))) for seed in range(2)) <= 1


def test_slow_readings_are_scored_like_fast_ones():
    feed = Feed(step_s=3600)
    assert alarms(feed.all(noise(600, seed=1))) <= 3
    assert alarms(feed.all(noise(6, seed=2, mean=30.0))) == 1


def test_a_device_that_alarms_all_day_must_show_more_each_time():
    feed = warm(seed=8)
    heard = []
    for round_ in range(24):
        heard.append(alarms(feed.all([27.0 + round_ % 2])))
        feed.all(noise(600, seed=round_))
    assert sum(heard) <= 12


@pytest.mark.parametrize("learnt_from", ["a late reading", "an older reading of one sensor"])
def test_what_must_not_be_learnt_is_scored_only(learnt_from):
    feed = warm(seed=9)
    before = feed.scorer.to_state()
    late = feed.now_us - 100 * SECOND_US
    options = {"learn": False} if learnt_from == "a late reading" else {"left_out": ["temperature"]}
    score = feed.scorer.update(late, {"temperature": 20.5}, **options)
    assert score.score == 0.0
    assert feed.scorer.to_state() == before
    assert feed.scorer.update(late, {"temperature": 60.0}, **options).score > 0.5


def test_sensors_may_come_late_go_away_and_come_back():
    scorer = DeviceScorer(ModelSpec())
    for i, value in enumerate(noise(900, seed=1)):
        values = {"a": value}
        if i >= 300:
            values["b"] = value * 2
        if 400 <= i < 600:
            del values["a"]
        score = scorer.update(START_US + i * SECOND_US, values)
        assert set(score.sensors) == set(values)
        assert score.score < 0.5
    assert score.sensors["b"].expected_high is not None


def test_sensors_beyond_the_limit_are_left_out_whatever_their_order():
    names = [f"s{i}" for i in range(9)]
    for order in (names, names[::-1]):
        scorer = DeviceScorer(ModelSpec(max_sensors=4))
        assert set(scorer.update(START_US, dict.fromkeys(order, 1.0)).sensors) == {"s0", "s1", "s2", "s3"}


def test_a_message_without_readings_scores_nothing():
    score = DeviceScorer(ModelSpec()).update(START_US, {})
    assert (score.score, score.alarm_score, score.severity, score.sensors) == (0.0, 0.0, Severity.NONE, {})


def test_culprits_name_who_did_it_and_what_was_expected():
    scorer = DeviceScorer(ModelSpec())
    for i, value in enumerate(noise(300, seed=1)):
        scorer.update(START_US + i * SECOND_US, {"pressure": value, "flow": -value, "level": 2 * value})
    assert scorer.culprits() == []
    scorer.update(START_US + 300 * SECOND_US, {"pressure": 90.0, "flow": -30.0, "level": 40.0})
    worst, other = scorer.culprits()
    assert (worst.sensor, worst.observed, other.sensor) == ("pressure", 90.0, "flow")
    assert worst.share > other.share
    assert worst.share + other.share == pytest.approx(1.0)
    assert 15 < worst.expected_low < worst.expected_high < 25
