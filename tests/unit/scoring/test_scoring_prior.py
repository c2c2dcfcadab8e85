"""A new device of a known type is useful before it has a normal of its own."""

import pytest
from scoring_streams import SECOND_US, START_US, noise

from services.scoring.device import DeviceScorer
from services.scoring.prior import TEACHES_AFTER, TypePrior
from services.scoring.spec import DEFAULT_SPEC

STEP_US = 60 * SECOND_US


def tell(prior: TypePrior, values: list[float]) -> list:
    """A device of the type, from its first reading on; each is a record of the log."""
    device = DeviceScorer(DEFAULT_SPEC)
    said = []
    for i, value in enumerate(values):
        prior.offset += 1
        said.append(device.update(START_US + i * STEP_US, {"temperature": value}, prior=prior))
    return said


def taught_by(devices: int) -> TypePrior:
    prior = TypePrior()
    for seed in range(devices):
        tell(prior, list(noise(300, seed, mean=20.0 + seed)))
    return prior


@pytest.mark.parametrize("at", [40, 60, 90])
def test_a_step_of_ten_deviations_is_found_while_a_device_of_a_known_type_still_learns(at):
    found = 0
    for seed in range(50, 70):
        said = tell(taught_by(3), [*noise(at, seed), *noise(6, seed + 100, mean=30.0)])
        assert {score.state for score in said} == {"learning"}
        assert not any(score.alarm_score >= 0.5 for score in said[:at])
        found += any(score.alarm_score >= 0.5 for score in said[at:])
    assert found >= 18


def test_the_first_device_of_a_type_says_nothing_while_it_learns():
    said = tell(TypePrior(), [*noise(60, 1), *noise(6, 2, mean=30.0)])
    assert max(score.score for score in said) == 0.0


def test_a_healthy_device_of_a_known_type_wakes_nobody_wherever_its_readings_lie():
    prior = taught_by(3)
    signals = [list(noise(99, seed, mean=10.0 * seed)) for seed in range(60, 100)]
    alarms = sum(score.alarm_score >= 0.5 for values in signals for score in tell(prior, values))
    assert alarms == 0


def test_a_device_that_varies_more_than_its_type_is_measured_by_its_own_first_readings():
    said = [score for seed in range(10) for score in tell(taught_by(3), list(noise(99, seed, deviation=20.0)))]
    assert sum(score.alarm_score >= 0.5 for score in said) <= 2


def test_a_type_learns_from_its_first_fifteen_devices_and_goes_by_the_upper_quartile():
    prior = TypePrior()
    for device in range(30):
        prior.offset += 1
        prior.teach("temperature", float(device))
    prior.offset += 1
    assert len(prior.reaches["temperature"]) == 15
    assert prior.reach("temperature") == 11.0
    assert prior.reach("pressure") == 0.0


def test_what_is_learnt_later_in_the_log_is_not_known_yet():
    prior = TypePrior({"temperature": [(7, 1.0), (9, 5.0)]})
    prior.offset = 8
    assert prior.reach("temperature") == 1.0
    prior.offset = 7
    prior.teach("temperature", 1.0)
    assert prior.reaches == {"temperature": [(7, 1.0), (9, 5.0)]}


def test_names_that_a_hostile_device_invents_do_not_grow_a_prior_without_end():
    prior = TypePrior()
    for number in range(1_000):
        prior.teach(f"sensor-{number}", 1.0)
    assert len(prior.reaches) == 256


def test_a_device_teaches_once_and_not_before_it_has_learnt_enough():
    prior = TypePrior()
    tell(prior, list(noise(TEACHES_AFTER - 10, 1)))
    assert prior.reaches == {}
    tell(prior, [*noise(TEACHES_AFTER, 1), *noise(500, 2, mean=40.0)])
    assert len(prior.reaches["temperature"]) == 1
    assert 2.0 < prior.reaches["temperature"][0][1] < 5.0


def test_a_sensor_that_is_made_to_learn_anew_while_it_still_teaches_goes_by_the_prior_again():
    prior = taught_by(3)
    device = DeviceScorer(DEFAULT_SPEC)
    for i, value in enumerate(noise(150, 7)):
        device.update(START_US + i * STEP_US, {"temperature": value}, prior=prior)
    device.forget("temperature")
    said = [
        device.update(START_US + (150 + i) * STEP_US, {"temperature": value}, prior=prior)
        for i, value in enumerate([*noise(60, 8), *noise(6, 9, mean=30.0)])
    ]
    assert {score.state for score in said} == {"learning"}
    assert any(score.alarm_score >= 0.5 for score in said[60:])
