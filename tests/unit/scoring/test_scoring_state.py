"""What has been learnt survives a restart to the last bit, and nothing else comes in with it."""

import random

import msgspec
import pytest
import river
from hypothesis import given, settings
from hypothesis import strategies as st
from river.anomaly import LocalOutlierFactor
from scoring_streams import SECOND_US, SPECS, START_US, Feed, noise, spec_of, warm

from services.scoring.device import DeviceScorer
from services.scoring.spec import ModelSpec
from services.scoring.state import ModelNotRegistered, StateUnreadable
from services.scoring.views.river import RiverView


def through_msgpack(scorer: DeviceScorer, spec: ModelSpec) -> DeviceScorer:
    return DeviceScorer.from_state(spec, msgspec.msgpack.decode(msgspec.msgpack.encode(scorer.to_state())))


def rough(rng: random.Random) -> float:
    return rng.choice([rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 30), 3.0, -0.0, 5e-324, 1e300])


@pytest.mark.parametrize("model", SPECS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 350))
def test_a_restored_scorer_scores_the_same_for_ever(model, seed, cut):
    spec, rng = spec_of(model, warm_up=60), random.Random(seed)
    original, restored, now = DeviceScorer(spec), None, START_US
    for i in range(500):
        now += rng.choice([0, 1, 1, 1, 1, 7, 400]) * SECOND_US
        values = {"a": rough(rng), "b": rng.gauss(0, 1)}
        if i == cut:
            restored = through_msgpack(original, spec)
        score = original.update(now, values)
        if restored is not None:
            assert restored.update(now, values) == score
            assert restored.culprits() == original.culprits()
    assert restored.to_state() == original.to_state()


@pytest.mark.parametrize(
    ("model", "limit"), [("bands", 5120), ("light", 1536), ("gaussian", 1024), ("half_space_trees", 1280)]
)
def test_a_sensor_s_state_is_small(model, limit):
    feed = warm(1, ModelSpec(name=model), readings=2000)
    assert len(msgspec.msgpack.encode(feed.scorer.to_state())) < limit


def test_the_state_does_not_tell_in_which_order_sensors_came():
    scorers = DeviceScorer(ModelSpec()), DeviceScorer(ModelSpec())
    for i, value in enumerate(noise(200, 1)):
        scorers[0].update(START_US + i * SECOND_US, {"a": value, "b": -value})
        scorers[1].update(START_US + i * SECOND_US, {"b": -value, "a": value})
    assert scorers[0].to_state() == scorers[1].to_state()


def test_a_model_without_an_encoding_is_refused_when_it_is_built():
    with pytest.raises(ModelNotRegistered, match="LocalOutlierFactor"):
        RiverView(LocalOutlierFactor())


def test_another_river_or_spec_is_unreadable():
    state = warm(1, readings=50).scorer.to_state()
    assert state[1] == river.__version__
    with pytest.raises(StateUnreadable):
        DeviceScorer.from_state(ModelSpec(alarms_per_week=2.0), state)
    with pytest.raises(StateUnreadable, match=r"0\.1\.0"):
        DeviceScorer.from_state(ModelSpec(), [state[0], "0.1.0", *state[2:]])


@pytest.mark.parametrize("model", SPECS)
def test_damage_is_unreadable_and_never_another_error(model):
    spec, rng = spec_of(model), random.Random(7)
    state = warm(1, spec, readings=300).scorer.to_state()
    refused = 0
    for _ in range(300):
        damaged = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
        part = damaged
        while True:
            place = rng.randrange(len(part))
            if isinstance(part[place], list) and part[place] and rng.random() < 0.8:
                part = part[place]
                continue
            part[place] = rng.choice([None, "x", b"", [], [1], {}, True, [["x"]]])
            break
        try:
            DeviceScorer.from_state(spec, damaged)
        except StateUnreadable:
            refused += 1
    assert refused > 250


@pytest.mark.parametrize("state", [None, 7, "x", b"x", {}, [], [1], ["weir.scorer.1"]])
def test_what_is_no_state_is_unreadable(state):
    with pytest.raises(StateUnreadable):
        DeviceScorer.from_state(ModelSpec(), state)


def test_a_state_taken_while_first_readings_wait_loses_none():
    feed = Feed()
    feed.all(noise(20, 1))
    assert through_msgpack(feed.scorer, ModelSpec()).to_state() == feed.scorer.to_state()
