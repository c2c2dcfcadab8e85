"""Sensors together: what no sensor shows alone, who is to blame, and what must not disturb it."""

import math
import random
from math import sin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_a_field_that_went_is_dropped_without_a_trace_in_the_scores():
    """After 4,000 rows; until then, and from then on, the others are judged alike."""
    scorer, rng = trained(7)
    kept = None
    for i in range(700, 4_800):
        values = row(rng, i)
        del values["s1"]
        if i == 4_690:
            kept = DeviceScorer.from_state(ModelSpec(), scorer.to_state())
            kept._joint.missed = [0.0] * len(NAMES)  # as if it had been there of late
        one = scorer.update(START_US + i * SECOND_US, values)
        if kept is not None:
            assert one.score == pytest.approx(kept.update(START_US + i * SECOND_US, values).score, abs=1e-9)
    assert kept._joint.names == NAMES
    assert scorer._joint.names == [name for name in NAMES if name != "s1"]
    assert DeviceScorer.from_state(ModelSpec(), scorer.to_state()).to_state() == scorer.to_state()


def test_a_field_that_comes_back_after_it_was_dropped_is_learnt_anew():
    scorer, rng = trained(7)
    scorer._joint.missed[1] = 4_000.0
    scorer = DeviceScorer.from_state(ModelSpec(), scorer.to_state())
    for i in range(700, 1_200):
        score = scorer.update(START_US + i * SECOND_US, row(rng, i))
    assert scorer._joint.names == ["s0", "s2", "s3", "s4", "s5", "s1"]
    assert score.score < 0.5


def test_state_from_before_sensors_were_dropped_is_read():
    scorer, rng = trained(8)
    state = scorer.to_state()
    joint = next(part for part in state if isinstance(part, list) and part and part[0] == "joint.1")
    joint[-1] = joint[-1][:7]
    old = DeviceScorer.from_state(ModelSpec(), state)
    values = row(rng, 700)
    event_us = START_US + 700 * SECOND_US
    assert old.update(event_us, values).score == scorer.update(event_us, values).score


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
    joint.largest.value = 0.0
    joint.means = [sum(column) / len(column) for column in joint.window]
    assert scorer.update(START_US + 500 * SECOND_US, dict.fromkeys(NAMES, 1.0)).score < 0.5
    assert 0.0 <= scorer.update(START_US + 501 * SECOND_US, dict.fromkeys(NAMES, 9.0)).score <= 1.0
    assert sum(culprit.share for culprit in scorer.culprits()) == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------------- the end of a fault


def during_and_after(size: float, lasts: int = 40, after: int = 40) -> list[tuple[int, dict[str, float]]]:
    """Rows 700 on: for `lasts` rows one sensor is `size` off."""
    rng = random.Random(8)
    rows = [(i, row(rng, i)) for i in range(700, 700 + lasts + after)]
    for i, values in rows:
        values["s0"] += size if i < 700 + lasts else 0.0
    return rows


@pytest.mark.parametrize("size", [6.0, -8.0, 40.0])
def test_a_fault_is_scored_to_its_end_and_for_five_rows_after_it_at_most(size):
    scorer, _ = trained(4)
    over = [i for i, v in during_and_after(size) if scorer.update(START_US + i * SECOND_US, v).score >= 0.5]
    assert set(range(706, 740)) <= set(over)
    assert max(over) <= 740 + 5


def test_the_few_rows_after_a_fault_score_no_higher_than_fifteen_would():
    after = never = 0.0
    for seed in range(3):
        learnt = trained(seed, readings=500)[0].to_state()
        for repeat in range(4):
            struck, calm = (DeviceScorer.from_state(ModelSpec(), learnt) for _ in range(2))
            rng = random.Random(10 * seed + repeat)
            for i in range(500, 540):
                values = row(rng, i)
                off = {**values, "s0": values["s0"] + (8.0 if i < 530 else 0.0)}
                struck.update(START_US + i * SECOND_US, off)
                calm.update(START_US + i * SECOND_US, values)
                if i >= 534:
                    after += struck._joint.score
                    never += calm._joint.score
    assert after < 1.25 * never


def test_a_fault_that_comes_back_soon_is_scored_again():
    scorer, rng = trained(4)
    scores = []
    for i in range(700, 760):
        values = row(rng, i)
        values["s0"] += 0.0 if 720 <= i < 728 else 8.0
        scores.append(scorer.update(START_US + i * SECOND_US, values).score)
    assert max(scores[25:28]) < 0.5
    assert min(scores[32:]) >= 0.5


def test_at_the_end_of_a_fault_looking_changes_nothing_and_a_restart_neither():
    scorer, _ = trained(4)
    for i, values in during_and_after(8.0):
        event_us = START_US + i * SECOND_US
        looked = scorer.score(event_us, values)
        restarted = DeviceScorer.from_state(ModelSpec(), scorer.to_state())
        score = scorer.update(event_us, values)
        assert looked.score == score.score
        assert restarted.update(event_us, values) == score
        assert restarted.to_state() == scorer.to_state()


# ------------------------------------------------------------------------------------------------- whatever is read

LEARNT = trained(5, readings=450)[0].to_state()
READING = st.floats(-1e100, 1e100) | st.sampled_from([1e100, -1e100, 1e-300, 0.0, 5e-324])
ROWS = st.lists(st.dictionaries(st.sampled_from([*NAMES, "late"]), READING, min_size=1), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_whatever_is_read_shares_are_positive_and_add_up(rows):
    scorer = DeviceScorer.from_state(ModelSpec(), LEARNT)
    for i, values in enumerate(rows):
        score = scorer.update(START_US + (450 + i) * SECOND_US, values)
        shares = [culprit.share for culprit in scorer.culprits()]
        assert 0.0 <= score.alarm_score <= score.score <= 1.0
        assert all(math.isfinite(share) and share > 0.0 for share in shares)
        assert sum(shares) == pytest.approx(1.0, abs=1e-9) or not shares
        assert shares or not score.score or score.is_held
