"""Drift: what has moved is told with a step to take, what only varies is not; nothing is reset by itself."""

import random
from math import pi, sin

import msgspec
import pytest

from schemas.model_event import DriftTest, Step
from services.scoring.drift.device_watch import MINUTE_US, OF_DEVICE, DeviceWatch, SensorWatch
from services.scoring.drift.hours import HOUR_US, hour_of_week, kind_of_hour
from services.scoring.drift.page_hinkley import PageHinkley
from services.scoring.drift.population import Population

MONDAY_H = 497_880
"""19 October 2026, 00:00 UTC."""
WEEK_H = 168


def daily(numbers: random.Random, hour: int) -> float:
    weekend = hour_of_week(hour) >= 120
    return 20 + (1 if weekend else 5) * sin(2 * pi * hour / 24) + numbers.gauss(0, 1)


def drifts(values, start: int = MONDAY_H) -> list[tuple[int, Step, bool]]:
    """Hours from the start, of a sensor's hourly means."""
    watch, found = SensorWatch(), []
    for hour, value in enumerate(values):
        drift = watch.judge(start + hour, value, 0)
        if drift is not None:
            found.append((hour, drift.step, drift.rises))
    return found


def test_hours_are_those_of_the_week_and_of_working_days_and_week_ends():
    assert [hour_of_week(MONDAY_H + h) for h in (0, 25, 167, 168)] == [0, 25, 167, 0]
    assert [kind_of_hour(MONDAY_H + h) for h in (0, 119, 120, 167)] == [0, 23, 24, 47]


def test_a_rise_is_the_sum_beyond_what_is_tolerated_and_falls_back_to_nothing():
    test = PageHinkley()
    for value in [0.0] * 10:
        test.add(value, 0.5)
    assert (test.rise, test.fall) == (0.0, 0.0)
    for value in [3.0] * 3:
        test.add(value, 0.5)
    means = [3 / 11, 6 / 12, 9 / 13]
    assert test.rise == pytest.approx(sum(3.0 - mean - 0.5 for mean in means))
    assert (test.rise_for, test.fall) == (3, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_noise_daily_and_weekly_cycles_are_no_drift_in_half_a_year(seed):
    numbers = random.Random(seed)
    assert drifts([daily(numbers, MONDAY_H + hour) for hour in range(26 * WEEK_H)]) == []


@pytest.mark.parametrize(("size", "within_h"), [(4.0, 3 * 24), (-4.0, 3 * 24), (2.5, 10 * 24)])
@pytest.mark.parametrize("seed", range(4))
def test_a_lasting_move_is_found_with_its_direction(size, within_h, seed):
    numbers = random.Random(seed)
    values = [daily(numbers, MONDAY_H + h) + (size if h >= 4 * WEEK_H else 0) for h in range(7 * WEEK_H)]
    (first, *_) = drifts(values)
    assert 0 <= first[0] - 4 * WEEK_H <= within_h
    assert first[1:] == (Step.WATCH, size > 0)


def test_a_constant_that_has_become_another_one_is_found_and_learnt_anew():
    assert [step for _, step, _ in drifts([5.0] * WEEK_H * 2 + [5.5] * WEEK_H * 3)] == [Step.WATCH]


def test_a_second_drift_of_a_sensor_within_four_weeks_advises_more():
    values = [5.0] * 2 * WEEK_H + [6.0] * 2 * WEEK_H + [7.0] * 2 * WEEK_H
    assert [step for _, step, _ in drifts(values)] == [Step.WATCH, Step.RE_BASELINE]


def fed(minutes, values_of, score_of, watch: DeviceWatch | None = None):
    """A device that sends once a minute; hours that are over, with their drift."""
    watch = watch or DeviceWatch()
    over = []
    for minute in minutes:
        event_us = MONDAY_H * HOUR_US + minute * MINUTE_US
        if event_us >= watch.due_us:
            over += watch.look(event_us, values_of(minute), score_of(minute))
    return watch, over


def test_hourly_means_are_those_of_the_first_readings_of_each_minute():
    watch = DeviceWatch()
    over = []
    for second in range(0, 2 * 3600 + 60, 10):
        event_us = MONDAY_H * HOUR_US + second * 1_000_000
        if event_us >= watch.due_us:
            over += watch.look(event_us, {"flow": float(second % 60)}, 0.0)
    assert [(hour.sensor, hour.hour - MONDAY_H, hour.mean) for hour in over if hour.sensor] == [
        ("flow", 0, 0.0), ("flow", 1, 0.0),
    ]  # fmt: skip


def test_sensors_that_speak_one_after_the_other_are_all_looked_at():
    watch = DeviceWatch()
    for second in range(0, 3601, 5):
        name = ("a", "b", "c")[second // 5 % 3]
        event_us = MONDAY_H * HOUR_US + second * 1_000_000
        if event_us >= watch.due_us:
            watch.look(event_us, {name: 1.0}, 0.0)
    assert {name: sensor.hour - MONDAY_H for name, sensor in watch.sensors.items()} == {"a": 1, "b": 0, "c": 0}
    assert watch.sensors["b"].count == watch.sensors["c"].count == 60


def test_a_score_that_stays_up_is_drift_and_one_that_comes_back_each_week_retires_the_model():
    def score(minute: int) -> float:
        return 0.6 if (minute // 60) % WEEK_H > 120 else 0.02

    _, over = fed(range(0, 4 * WEEK_H * 60, 10), lambda _: {"flow": 1.0}, score)
    found = [hour.drift for hour in over if hour.drift is not None]
    assert {drift.test for drift in found} == {DriftTest.PAGE_HINKLEY_SCORE}
    assert [drift.step for drift in found][:3] == [Step.RE_BASELINE, Step.RE_BASELINE, Step.RETIRE_MODEL]
    assert {hour.sensor for hour in over if hour.drift is not None} == {OF_DEVICE}


def test_a_fault_of_six_hours_is_no_drift_of_the_score():
    _, over = fed(range(0, 2 * WEEK_H * 60, 5), lambda _: {"flow": 1.0}, lambda m: 0.8 if 6000 <= m < 6360 else 0.05)
    assert [hour.drift for hour in over if hour.drift] == []


def test_what_is_watched_goes_on_from_its_bytes_as_if_never_stopped():
    numbers = random.Random(3)
    told = [({"flow": numbers.gauss(0, 1) + (9 if m > 20_000 else 0)}, numbers.random() / 9) for m in range(40_000)]
    whole, expected = fed(range(0, 40_000, 7), lambda m: told[m][0], lambda m: told[m][1])
    one, first = fed(range(0, 15_001, 7), lambda m: told[m][0], lambda m: told[m][1])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=DeviceWatch)
    two, second = fed(range(15_001, 40_000, 7), lambda m: told[m][0], lambda m: told[m][1], again)
    assert first + second == expected
    assert any(hour.drift for hour in expected)
    assert msgspec.msgpack.encode(two) == msgspec.msgpack.encode(whole)


def shifts(days: int, devices: int, value_of) -> list[tuple[int, Step | None]]:
    """Days from the start and advised steps; `value_of(day, hour, device)`."""
    population, found = Population(), []
    for hour in range(24 * days):
        for device in range(devices):
            shift = population.take(MONDAY_H + hour, value_of(hour // 24, hour, device))
            if shift is not None:
                found.append((shift.day - MONDAY_H // 24, shift.step))
    return found


@pytest.mark.parametrize("devices", [1, 10])
def test_a_population_that_only_varies_with_the_week_does_not_drift(devices):
    numbers = random.Random(devices)
    assert shifts(70, devices, lambda _, hour, __: daily(numbers, MONDAY_H + hour)) == []


def test_a_population_that_moves_is_told_by_steps_and_when_it_is_back():
    numbers = random.Random(4)

    def value(day: int, hour: int, _: int) -> float:
        return daily(numbers, MONDAY_H + hour) + (4.0 if 35 <= day < 40 else 0.0)

    assert shifts(50, 10, value) == [(35, Step.RE_BASELINE), (40, None)]


def test_a_small_move_of_many_devices_is_to_be_watched():
    numbers = random.Random(5)

    def value(day, _hour, _device):
        return numbers.gauss(0, 1) + (0.4 if day >= 35 else 0.0)

    (first, *_) = shifts(37, 60, value)
    assert first == (35, Step.WATCH)


def test_after_two_weeks_elsewhere_the_model_is_to_be_retired_and_the_reference_is_learnt_anew():
    numbers = random.Random(6)

    def value(day, _hour, _device):
        return numbers.gauss(0, 1) + (5.0 if day >= 35 else 0.0)

    assert shifts(75, 5, value) == [(35, Step.RE_BASELINE), (48, Step.RETIRE_MODEL)]


def test_a_population_s_memory_is_bounded():
    numbers = random.Random(7)
    population = Population()
    for hour in range(24 * 28):
        for _ in range(40):
            population.take(MONDAY_H + hour, numbers.gauss(0, 1))
            assert len(population.kept) < 512
    assert len(msgspec.msgpack.encode(population)) < 12_000
