"""Promises for any readings whatever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_streams import SECOND_US, SPECS, START_US, Feed, noise, spec_of, warm

from services.scoring.device import DeviceScorer
from services.scoring.spec import ModelSpec

LESS_STEADY = {"loda": 0.25, "one_class_svm": 0.35, "all features": 0.1}
"""How far scores may differ after one absurd reading, where that is more than 0.02: it is left out, and weights or
histograms that come of one reading less say something else of later ones (docs/scoring.md).
"""
ANY_VALUE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e300, -1e300, -0.0, 5e-324, 1.0])


@pytest.mark.parametrize("model", SPECS)
@settings(max_examples=25, deadline=None)
@given(values=st.lists(ANY_VALUE, min_size=60, max_size=200), step_s=st.sampled_from([0.0, 0.001, 1.0, 3600.0]))
def test_scores_lie_between_0_and_1(model, values, step_s):
    feed = Feed(spec_of(model, warm_up=40), step_s)
    for value in values:
        score = feed.one(value)
        assert 0.0 <= score.alarm_score <= score.score <= 1.0
        assert sum(c.share for c in feed.scorer.culprits()) == pytest.approx(1.0 if score.score else 0.0)


@pytest.mark.parametrize("model", SPECS)
def test_even_infinitely_many_widths_outside_is_a_number(model):
    feed = Feed(spec_of(model))
    feed.all([5e-324 * (i % 7) for i in range(300)])
    assert 0.5 <= feed.one(1e300).score <= 1.0


@pytest.mark.parametrize("model", SPECS)
@pytest.mark.parametrize("at", [0, 10, 31, 50, 99, 300])
def test_one_absurd_reading_changes_nothing_that_follows(model, at):
    values = [*noise(1000, seed=11), 27.0]
    usual = Feed(spec_of(model))
    usual.all(values[:at])
    usual.now_us += usual.step_us
    expected = usual.all(values[at:])
    for absurd in (1e300, -1e300, 1e12):
        poisoned = Feed(spec_of(model))
        poisoned.all(values[:at])
        poisoned.one(absurd)
        after = zip(expected, poisoned.all(values[at:]), strict=True)
        assert max(abs(a.score - b.score) for a, b in after) < LESS_STEADY.get(model, 0.02), absurd


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(["a", "b", "c", "d"]), seed=st.integers(0, 1000))
def test_the_order_of_sensors_in_a_message_does_not_matter(order, seed):
    one, other = DeviceScorer(ModelSpec()), DeviceScorer(ModelSpec())
    for i, value in enumerate(noise(150, seed)):
        values = {"a": value, "b": value * value, "c": 40.0 if i == 140 else -value, "d": 60.0 if i == 141 else value}
        shuffled = {name: values[name] for name in order}
        assert one.update(START_US + i * SECOND_US, values) == other.update(START_US + i * SECOND_US, shuffled)
        assert one.culprits() == other.culprits()


def test_the_same_readings_give_the_same_scores():
    assert warm(1).all(noise(300, 2, deviation=2.0)) == warm(1).all(noise(300, 2, deviation=2.0))
