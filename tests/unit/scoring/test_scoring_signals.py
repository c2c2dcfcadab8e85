"""Odd signals, all normal: none may crash the scorer or wake anybody."""

import math

import pytest
from scoring_streams import Feed, alarms, noise

ODD = {
    "constant": [5.0] * 1000,
    "constant zero": [0.0] * 1000,
    "constant, then tiny noise": [5.0] * 500 + [5.0 + 1e-9 * x for x in noise(500, 1, 0.0)],
    "zero, then tiny noise": [0.0] * 500 + [1e-9 * x for x in noise(500, 1, 0.0)],
    "counter": [float(i) for i in range(3000)],
    "fast counter from a large number": [1e9 + 1000.0 * i for i in range(3000)],
    "switch": [float(i // 37 % 2) for i in range(3000)],
    "quantised": [round(20 + math.sin(i / 500) + 0.05 * x, 1) for i, x in enumerate(noise(3000, 2, 0.0))],
    "sawtooth": [float(i % 60) for i in range(3000)],
    "tiny": list(noise(2000, 4, 0.0, 1e-300)),
    "huge": list(noise(2000, 5, 0.0, 1e90)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_signal_is_not_an_anomaly(name):
    scores = Feed().all(ODD[name])
    assert alarms(scores) == 0


def test_a_wave_is_one_alarm_at_most_while_its_first_cycle_looks_like_a_drift():
    wave = [20 + 5 * math.sin(i / 3000) + 0.1 * x for i, x in enumerate(noise(8000, 3, 0.0))]
    assert alarms(Feed().all(wave)) <= 1


@pytest.mark.parametrize("history", [300, 1000, 3000])
def test_a_drift_of_four_deviations_over_500_readings_is_found_before_its_end(history):
    found = 0
    for seed in range(10):
        feed = Feed()
        feed.all(noise(history, seed))
        found += alarms(feed.all(x + i * 4 / 500 for i, x in enumerate(noise(500, seed + 100)))) >= 1
    assert found >= 9


def test_a_constant_that_leaps_is_an_anomaly():
    feed = Feed()
    feed.all([20.0] * 500)
    assert feed.one(25.0).alarm_score >= 0.5


def test_a_signal_that_falls_silent_in_its_noise_is_an_anomaly():
    feed = Feed()
    feed.all(noise(8000, 1))
    assert alarms(feed.all([20.0] * 120)) >= 1


def test_a_shift_too_small_for_one_reading_shows_in_the_averages():
    feed = Feed()
    feed.all(noise(8000, 1))
    shifted = feed.all(noise(240, 2, mean=21.5))
    assert shifted[0].score < 0.5
    assert alarms(shifted) >= 1


def test_equal_and_backward_times_do_no_harm():
    feed = Feed(step_s=0)
    assert alarms(feed.all(noise(500, 1))) == 0
    feed.step_us = -1_000_000
    assert alarms(feed.all(noise(500, 2))) == 0


def test_a_pause_of_a_month_forgets_nothing():
    feed = Feed()
    before = feed.all(noise(3000, 1))[-1].sensors["temperature"]
    feed.now_us += 30 * 86_400 * 1_000_000
    after = feed.one(20.0).sensors["temperature"]
    assert after.expected_low == pytest.approx(before.expected_low, rel=1e-3)
    assert after.expected_high == pytest.approx(before.expected_high, rel=1e-3)
