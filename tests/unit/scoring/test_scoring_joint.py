"""Sensors together: what no sensor shows alone, who is to blame, and what must not disturb it."""

import random
from math import sin

import pytest
from scoring_streams import SECOND_US, START_US

from services.scoring.device import DeviceScorer
from services.scoring.joint import MOST_SENSORS
from services.scoring.spec import ModelSpec

NAMES = [f"s{j}" for j in range(6)]


def row(rng: random.Random, i: int) -> dict[str, float]:
    """Six sensors that follow one slow load, each with noise of its own."""
    load = sin(i / 40.0)
    return {name: 10.0 * j + (j + 1) * load + rng.gauss(0, 0.3) for j, name in enumerate(NAMES)}


def trained(seed: int, readings: int = 700) -> tuple[DeviceScorer, random.Random]:
    rng, scorer = random.Random(seed), DeviceScorer(ModelSpec())
    for i in range(readings):
        scorer.update(START_US + i * SECOND_US, row(rng, i))
    return scorer, rng


def test_a_combination_that_no_sensor_shows_alone_is_found():
    scorer, rng = trained(1)
    highest = alone = 0.0
    for i in range(700, 760):
        values = row(rng, i)
        values["s0"] = 0.0 - sin(i / 40.0) + rng.gauss(0, 0.3)
        score = scorer.update(START_US + i * SECOND_US, values)
        highest, alone = max(highest, score.score), max(alone, score.sensors["s0"].score)
    assert alone < 0.5 <= highest
    assert scorer.culprits()[0].sensor == "s0"


def test_the_culprit_of_a_fault_in_one_sensor_is_right_in_95_of_100():
    right = found = 0
    for seed in range(10):
        scorer, rng = trained(seed, readings=500)
        learnt = scorer.to_state()
        for fault in range(20):
            device = DeviceScorer.from_state(ModelSpec(), learnt)
            culprit = NAMES[(seed + fault) % len(NAMES)]
            for i in range(500, 580):
                values = row(rng, i)
                away = (6.0, (i - 500) / 10.0, -8.0, rng.gauss(0, 6))[fault % 4]
                values[culprit] += away
                score = device.update(START_US + i * SECOND_US, values)
                if score.alarm_score >= 0.5:
                    found += 1
                    right += device.culprits()[0].sensor == culprit
                    break
    assert found >= 195
    assert right >= 0.95 * found


@pytest.mark.parametrize("at", [50, 450, 600])
def test_one_absurd_reading_disturbs_nothing_that_follows(at):
    one, other = trained(2, at)[0], trained(2, at)[0]
    rng = random.Random(9)
    for i in range(at, at + 400):
        values = row(rng, i)
        absurd = {**values, "s2": 1e300} if i == at else values
        scores = one.update(START_US + i * SECOND_US, values), other.update(START_US + i * SECOND_US, absurd)
        if i > at:
            assert abs(scores[0].score - scores[1].score) < 0.02


def test_a_field_added_late_and_one_gone_for_ever_are_no_anomaly():
    rng, scorer = random.Random(5), DeviceScorer(ModelSpec())
    over = 0
    for i in range(2500):
        values = row(rng, i)
        if i < 800:
            del values["s5"]
        if i > 1500:
            del values["s1"]
        over += scorer.update(START_US + i * SECOND_US, values).score >= 0.5
    assert over <= 25


def test_devices_with_more_sensors_than_are_looked_at_together_are_scored():
    rng, scorer = random.Random(6), DeviceScorer(ModelSpec())
    for i in range(450):
        values = {f"s{j:02}": rng.gauss(0, 1) for j in range(MOST_SENSORS + 4)}
        score = scorer.update(START_US + i * SECOND_US, values)
    assert len(score.sensors) == MOST_SENSORS + 4
    assert score.score < 0.5


def test_readings_as_absurd_as_can_be_have_culprits_whose_shares_add_up():
    scorer, _ = trained(3)
    for i in range(700, 720):
        score = scorer.update(START_US + i * SECOND_US, dict.fromkeys(NAMES, 1e300 * (-1) ** i))
        found = scorer.culprits()
        assert 0.0 <= score.score <= 1.0
        assert found
        assert sum(culprit.share for culprit in found) == pytest.approx(1.0)


def test_what_has_not_moved_for_weeks_is_scored():
    scorer = DeviceScorer(ModelSpec())
    for i in range(500):
        scorer.update(START_US + i * SECOND_US, dict.fromkeys(NAMES, 1.0))
    joint = scorer._joint  # where a month of the same readings takes it
    joint.largest = 0.0
    joint.means = joint.window.mean(0)
    assert scorer.update(START_US + 500 * SECOND_US, dict.fromkeys(NAMES, 1.0)).score < 0.5
    assert 0.0 <= scorer.update(START_US + 501 * SECOND_US, dict.fromkeys(NAMES, 9.0)).score <= 1.0
    assert sum(culprit.share for culprit in scorer.culprits()) == pytest.approx(1.0)
