"""How far several numbers lie together, and which of them makes it so: as defined, and for whatever is learnt."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.scoring import hotelling

SIZES = st.floats(-1e100, 1e100)
COVARIANCES = st.floats(-1e200, 1e200)


def precision_of(covariance: np.ndarray) -> hotelling.Precision:
    return hotelling.precision_of(covariance.tolist())


def statistic_of(away: np.ndarray, precision: hotelling.Precision) -> float:
    return hotelling.statistic_of(away.tolist(), precision)


def blame_of(away: np.ndarray, precision: hotelling.Precision) -> np.ndarray:
    return np.array(hotelling.blame_of(away.tolist(), precision))


def learnt(seed: int, count: int = 5) -> np.ndarray:
    """A covariance of readings that depend on each other."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(400, count)) @ rng.normal(size=(count, count))
    return np.cov(mixed, rowvar=False)


def as_inverted(covariance: np.ndarray) -> np.ndarray:
    return covariance + np.diag(np.diagonal(covariance) * 0.02 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_t2_is_as_hotelling_defined_it(seed):
    covariance, away = learnt(seed), np.random.default_rng(seed + 50).normal(size=5)
    expected = away @ np.linalg.inv(as_inverted(covariance)) @ away / 5
    assert statistic_of(away, precision_of(covariance)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_blame_is_by_how_far_t2_falls_without_the_number(seed):
    covariance, away = learnt(seed), np.random.default_rng(seed + 50).normal(size=5)
    whole = as_inverted(covariance)
    falls = []
    for left in range(5):
        others = [j for j in range(5) if j != left]
        without = away[others] @ np.linalg.inv(whole[np.ix_(others, others)]) @ away[others]
        falls.append(away @ np.linalg.inv(whole) @ away - without)
    assert blame_of(away, precision_of(covariance)) == pytest.approx(np.array(falls) / sum(falls))


def test_covariances_that_were_learnt_apart_and_fit_no_readings_leave_blame_finite():
    apart = np.array([[1.0, 3.0, 0.0], [3.0, 1.0, 3.0], [0.0, 3.0, 1.0]])
    precision = precision_of(apart)
    assert (np.linalg.eigvalsh(precision.inverse) > 0.0).all()
    parts = blame_of(np.array([1e100, -1e100, 3.0]), precision)
    assert (parts >= 0.0).all()
    assert parts.sum() == pytest.approx(1.0, abs=1e-9)
    assert 0.0 < statistic_of(np.array([1.0, -1.0, 1.0]), precision) < 1e3


@example(np.full((6, 6), 1e200), np.full(6, 1e100))
@example(np.zeros((6, 6)), np.full(6, -1e100))
@example(np.full((6, 6), -1e200), np.array([1e100, 0.0, 1e-300, -1e100, 5e-324, 1.0]))
@given(arrays.arrays(float, (6, 6), elements=COVARIANCES), arrays.arrays(float, 6, elements=SIZES))
def test_whatever_was_learnt_and_read_t2_is_finite_and_blame_adds_up(learnt_apart, away):
    covariance = np.minimum(learnt_apart, learnt_apart.T)
    covariance[np.diag_indices(6)] = np.abs(np.diagonal(covariance))
    precision = precision_of(covariance)
    statistic = statistic_of(away, precision)
    assert 0.0 <= statistic <= 1e100
    parts = blame_of(away, precision)
    assert (parts >= 0.0).all()
    assert math.isfinite(parts.sum())
    assert parts.sum() == pytest.approx(1.0, abs=1e-9) or statistic == 0.0


def test_without_each_number_it_is_that_of_the_others():
    covariance = learnt(3)
    away = np.array([1.0, -2.0, 0.5, 3.0, -0.25])
    others = hotelling.statistics_without(away.tolist(), precision_of(covariance))
    for place, statistic in enumerate(others):
        rest = [i for i in range(5) if i != place]
        assert statistic == pytest.approx(statistic_of(away[rest], precision_of(covariance[np.ix_(rest, rest)])))
