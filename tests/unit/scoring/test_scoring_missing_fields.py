"""Messages that lack some of their fields: what a sensor showed stands a little longer, and says nothing new."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_streams import SECOND_US, START_US

from services.scoring.device import DeviceScorer
from services.scoring.spec import ModelSpec

NAMES = ("flow", "heat", "level")
SENSORS = [f"s{j}" for j in range(8)]


def rows(count: int, seed: int) -> list[dict[str, float]]:
    rng = random.Random(seed)
    return [{name: rng.gauss(20, 1) for name in NAMES} for _ in range(count)]


def without_heat(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "heat"}


class Faulty:
    """A device whose `heat` has just read 60 in place of 20, after 150 healthy messages, one each `step_us`."""

    def __init__(self, step_us: int = SECOND_US, model: str = "bands") -> None:
        self.step_us = step_us
        self.scorer = DeviceScorer(ModelSpec(name=model))
        healthy = rows(151, seed=1)
        for i, row in enumerate(healthy[:150]):
            self.scorer.update(START_US + i * step_us, row)
        self.fault = self.scorer.update(self.at(150), healthy[150] | {"heat": 60.0})

    def at(self, step: float) -> int:
        return START_US + round(step * self.step_us)


@pytest.mark.parametrize("model", ["bands", "light", "gaussian"])
@pytest.mark.parametrize("step_us", [SECOND_US // 10, SECOND_US, 600 * SECOND_US])
def test_a_sensor_keeps_its_score_for_three_messages_that_lack_it(model, step_us):
    device = Faulty(step_us, model)
    lacking = [without_heat(row) for row in rows(6, seed=2)]
    scores = [device.scorer.update(device.at(151 + i), row) for i, row in enumerate(lacking)]
    assert device.fault.alarm_score >= 0.5
    assert [score.is_held for score in scores[:4]] == [True, True, True, False]
    assert all(score.score >= 0.5 for score in scores[:3])
    assert all(score.score < 0.5 for score in scores[3:])


def test_its_next_reading_ends_it():
    device = Faulty()
    device.scorer.update(device.at(151), without_heat(rows(1, seed=2)[0]))
    back = device.scorer.update(device.at(152), rows(1, seed=3)[0])
    assert (back.is_held, back.score) == (False, max(each.score for each in back.sensors.values()))


def test_what_is_held_raises_no_alarm_and_names_nobody():
    device = Faulty()
    score = device.scorer.update(device.at(151), without_heat(rows(1, seed=2)[0]))
    assert score.alarm_score < 0.5 <= score.score
    assert "heat" not in score.sensors
    assert "heat" not in [culprit.sensor for culprit in device.scorer.culprits()]


def test_a_late_reading_and_a_question_leave_what_is_held():
    device, other = Faulty(), Faulty()
    row = rows(1, seed=2)[0]
    device.scorer.update(device.at(149.5), row, learn=False)
    device.scorer.score(device.at(151), row)
    asked = [each.scorer.update(each.at(152), without_heat(row)) for each in (device, other)]
    assert asked[0] == asked[1]
    assert asked[0].is_held


def test_a_late_message_that_lacks_a_sensor_is_not_held_against_it():
    device = Faulty()
    late = device.scorer.update(device.at(149.5), without_heat(rows(1, seed=2)[0]), learn=False)
    assert not late.is_held


@settings(max_examples=30, deadline=None)
@given(
    gaps=st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=20),
    cut=st.integers(0, 20),
    high=st.integers(0, 20),
)
def test_restarts_change_nothing_whatever_is_missing(gaps, cut, high):
    one, other = Faulty().scorer, Faulty().scorer
    for i, (row, gap) in enumerate(zip(rows(20, seed=5), gaps, strict=False)):
        if i == cut:
            other = DeviceScorer.from_state(ModelSpec(), other.to_state())
        values = {name: value + 50 * (i == high) for name, value in row.items() if name not in gap}
        at = START_US + (151 + i) * SECOND_US
        score = one.update(at, values)
        assert score == other.update(at, values)
        assert score.score >= max((each.score for each in score.sensors.values()), default=0.0)
        assert not score.is_held or gap
    assert one.to_state() == other.to_state()


@pytest.mark.parametrize("seed", range(3))
def test_a_sensor_that_first_moves_while_the_device_is_learnt_hides_no_fault_where_fields_are_missing(seed):
    """Sensor s0 stands still for 105 messages, and then takes two values: far from what it was, and usual later on."""
    rng, scorer = random.Random(seed), DeviceScorer(ModelSpec())
    over = []
    for i in range(700):
        load = rng.gauss(0, 1)
        values = {name: 10.0 * j + load + rng.gauss(0, 0.3) for j, name in enumerate(SENSORS)}
        values["s0"] = 32.0 + (i >= 105) * rng.choice((0.0, 1.0))
        if i >= 600:
            values["s3"] = 33.0
        scorer.update(START_US + i * SECOND_US, {name: value for name, value in values.items() if rng.random() >= 0.3})
        over.append(scorer.together >= 0.5)
    assert sum(over[:600]) == 0
    assert sum(over[620:]) >= 70
