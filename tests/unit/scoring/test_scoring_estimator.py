"""The detector as River knows detectors: it passes River's own checks, and its two ways to score agree."""

import random
import sys
import types

import pytest
import river.checks
from river import checks, compose, preprocessing
from scoring_streams import SPECS

from services.scoring.estimator import DeviceDetector

START_S = 1_700_000_000


def rows(count: int, seed: int) -> list[tuple[dict[str, float], int]]:
    """Readings of eight sensors, a fortieth of them strange, and whether they are."""
    rng = random.Random(seed)
    found = []
    for i in range(count):
        strange = i > 200 and rng.random() < 0.025
        x = {f"s{j}": rng.gauss(j, 1.0) + (12.0 if strange and j == i % 8 else 0.0) for j in range(8)}
        found.append((x, int(strange)))
    return found


def area_under_roc(labels: list[int], scores: list[float]) -> float:
    """The share of pairs of a strange and a usual row that are ranked right, ties half (Mann and Whitney)."""
    strange = [score for score, label in zip(scores, labels, strict=True) if label]
    usual = [score for score, label in zip(scores, labels, strict=True) if not label]
    won = sum((s > u) + 0.5 * (s == u) for s in strange for u in usual)
    return won / (len(strange) * len(usual))


def river_checks(monkeypatch: pytest.MonkeyPatch, detector: DeviceDetector) -> list[object]:
    """River's checks, on our rows: its own data set is a download. Its ROC AUC check asks scikit-learn for the area
    alone, 60 MB for one formula; it is given the formula.
    """
    monkeypatch.setattr(river.checks, "_yield_datasets", lambda model, scale=1: [rows(300 * min(scale, 3), seed=1)])
    metrics = types.SimpleNamespace(roc_auc_score=area_under_roc)
    monkeypatch.setitem(sys.modules, "sklearn", types.SimpleNamespace(metrics=metrics))
    return list(checks.yield_checks(detector))


ESTIMATORS = {"bands": "bands", "light": "light", "loda": SPECS["loda"], "seasonal": SPECS["seasonal"]}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_river_s_estimator_checks_pass(monkeypatch, name):
    model = ESTIMATORS[name]
    done = []
    for check in river_checks(monkeypatch, DeviceDetector(model=model)):
        check(DeviceDetector(model=model))
        done.append(check.__name__)
    assert len(done) >= 20
    assert "check_roc_auc" in done


def test_what_is_strange_ranks_above_what_is_not():
    detector = DeviceDetector()
    scores, labels = [], []
    for x, strange in rows(2000, seed=2):
        scores.append(detector.score_one(x))
        labels.append(strange)
        detector.learn_one(x)
    assert area_under_roc(labels, scores) > 0.95


@pytest.mark.parametrize("name", SPECS)
def test_scoring_then_learning_gives_what_one_pass_gives(name):
    rng = random.Random(3)
    two_steps, one_pass = DeviceDetector(SPECS[name], time="t"), DeviceDetector(SPECS[name], time="t")
    now = START_S
    for i in range(1200):
        now += rng.choice([1, 1, 1, 5])
        fault = 8.0 if 900 < i < 960 else 0.0
        x = {"t": now, "a": rng.gauss(0, 1) + fault, "b": rng.gauss(5, 2)}
        if rng.random() < 0.1:
            del x["b"]
        said = two_steps.score_one(x)
        assert two_steps.score_one(x) == said
        two_steps.learn_one(x)
        assert one_pass.update(x).score == said
    assert two_steps._scorer.to_state() == one_pass._scorer.to_state()


def test_it_stands_at_the_end_of_a_river_pipeline():
    pipeline = compose.Select("a", "b") | preprocessing.StandardScaler() | DeviceDetector()
    rng = random.Random(4)
    for _ in range(600):
        pipeline.learn_one({"a": rng.gauss(0, 1), "b": rng.gauss(0, 1), "label": 1.0})
    assert pipeline.score_one({"a": 0.1, "b": 0.2, "label": 1.0}) < 0.5
    assert pipeline.score_one({"a": 15.0, "b": 0.2, "label": 1.0}) >= 0.5
