"""River's models with our inner loop give River's numbers, to the last bit."""

import copy
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.anomaly import GaussianScorer, HalfSpaceTrees

import services.scoring.river_state  # noqa: F401 - makes River's models storable
from services.scoring.one_pass import OnePassGaussian, OnePassTrees
from services.scoring.state import StateUnreadable, encode, restore


@given(values=st.lists(st.floats(-1e6, 1e6) | st.just(0.5), max_size=60), grace=st.integers(0, 20))
def test_the_gaussian_scores_as_river_s(values, grace):
    river, ours = GaussianScorer(grace_period=grace), OnePassGaussian(grace_period=grace)
    for value in values:
        assert ours.score_one(None, value) == river.score_one(None, value)
        river.learn_one(None, value)
        ours.learn_one(None, value)
    assert (ours.gaussian.mu, ours.gaussian.sigma) == (river.gaussian.mu, river.gaussian.sigma)
    assert encode(ours) == encode(river)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    trees=st.integers(1, 7),
    height=st.integers(1, 6),
    window=st.sampled_from([3, 10, 100]),
    missing=st.sampled_from([0.0, 0.3]),
)
def test_the_trees_score_as_river_s(seed, trees, height, window, missing):
    rng = random.Random(seed)
    limits = {"b": (-3.0, 3.0)}
    river = HalfSpaceTrees(trees, height, window, limits, seed)
    ours = OnePassTrees(trees, height, window, limits, seed)
    for i in range(250):
        row = {"a": rng.random(), "b": rng.gauss(0, 1), "c": rng.betavariate(2, 9)}
        row = {name: value for name, value in row.items() if i == 0 or rng.random() >= missing}
        assert ours.score_one(row) == river.score_one(row)
        river.learn_one(row)
        ours.learn_one(row)
    assert encode(ours) == encode(river)


@pytest.mark.parametrize(
    ("river", "ours"), [(HalfSpaceTrees, OnePassTrees), (GaussianScorer, OnePassGaussian)], ids=["trees", "gaussian"]
)
def test_what_river_s_own_learnt_can_be_taken_over(river, ours):
    rng = random.Random(1)
    parameters = {"n_trees": 5, "height": 4, "window_size": 50, "seed": 3} if river is HalfSpaceTrees else {}
    old, new, rows = river(**parameters), ours(**parameters), [{"level": rng.random()} for _ in range(300)]
    if river is GaussianScorer:
        learn, score = (lambda m, r: m.learn_one(None, r["level"])), (lambda m, r: m.score_one(None, r["level"]))
    else:
        learn, score = (lambda m, r: m.learn_one(r)), (lambda m, r: m.score_one(r))
    for row in rows[:180]:
        learn(old, row)
    restore(new, encode(old))
    for row in rows[180:]:
        assert score(new, row) == score(old, row)
        learn(old, row)
        learn(new, row)
    assert encode(new) == encode(old)


@pytest.mark.parametrize("window", [255, 256, 300])
@pytest.mark.parametrize("readings", [0, 1, 254, 290, 700])
def test_trees_of_a_long_window_are_taken_up_by_river_s_own_and_back(window, readings):
    rng = random.Random(3)
    ours, river, again = (kind(2, 3, window, seed=1) for kind in (OnePassTrees, HalfSpaceTrees, OnePassTrees))
    for _ in range(readings):  # nearly all in one leaf, so that masses go up to the window
        ours.learn_one({"a": 0.5 + rng.random() / 1000, "b": 0.1})
    restore(river, encode(ours))
    restore(again, encode(river))
    for _ in range(400):
        row = {"a": rng.random(), "b": rng.random()}
        assert ours.score_one(row) == river.score_one(row) == again.score_one(row)
        for model in (ours, river, again):
            model.learn_one(row)
    assert encode(ours) == encode(river) == encode(again)


@pytest.mark.parametrize("kind", [OnePassTrees, HalfSpaceTrees])
@pytest.mark.parametrize(
    ("place", "says"),
    [
        (3, lambda counter: counter + 1),
        (3, lambda counter: -1),
        (4, lambda masses: masses[1:]),
        (4, lambda masses: bytes([masses[0] ^ 1]) + masses[1:]),
        (5, lambda masses: masses[:-1]),
        (5, lambda masses: masses[:-1] + bytes([masses[-1] ^ 1])),
        (5, lambda masses: [*masses]),
    ],
)
def test_masses_that_are_not_those_of_so_many_readings_are_refused(kind, place, says):
    rng = random.Random(5)
    model = kind(3, 2, 20, seed=1)
    for _ in range(30):
        model.learn_one({"a": rng.random()})
    state = encode(model)
    state[place] = says(state[place])
    with pytest.raises(StateUnreadable, match="trees"):
        restore(kind(3, 2, 20, seed=1), state)


def test_trees_of_another_seed_are_not_taken_for_these():
    first, other = OnePassTrees(seed=1), OnePassTrees(seed=2)
    first.learn_one({"level": 0.5})
    with pytest.raises(StateUnreadable, match="other trees"):
        restore(other, encode(first))


def test_trees_without_a_seed_differ():
    first, other = OnePassTrees(), OnePassTrees()
    assert first.grow("level").forest.checksum != other.grow("level").forest.checksum


@pytest.mark.parametrize("model", [OnePassGaussian(grace_period=7), OnePassTrees(3, 2, 10, {"a": (0.0, 2.0)}, 5)])
def test_a_clone_has_the_parameters_and_nothing_learnt(model):
    if isinstance(model, OnePassTrees):
        model.learn_one({"a": 1.0})
    else:
        model.learn_one(None, 1.0)
    clone = model.clone()
    assert clone._get_params() == model._get_params()
    assert encode(clone) == encode(type(model)(**model._get_params()))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_goes_on_alike_and_apart(again):
    rng = random.Random(4)
    model = OnePassTrees(3, 4, 20, seed=2)
    for _ in range(50):
        model.learn_one({"a": rng.random(), "b": rng.random()})
    before, other = encode(model), again(model)
    assert encode(other) == before
    other.learn_one({"a": 0.1, "b": 0.9})
    assert encode(model) == before
    gaussian = OnePassGaussian()
    gaussian.learn_one(None, 3.0)
    assert encode(again(gaussian)) == encode(gaussian)
