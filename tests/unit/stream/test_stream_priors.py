"""Priors of device types on the state topic."""

import msgspec
import pytest

from services.runtime.errors import ConfigurationError
from services.stream.priors import PRIORS_KEY, PartitionPriors


def taught() -> PartitionPriors:
    priors = PartitionPriors()
    priors.of("pump", 17).teach("flow", 3.5)
    return priors


def test_a_change_is_written_once_led_by_the_offset_of_its_latest_lesson():
    priors = taught()
    (change,) = priors.take_change()
    assert change.key == PRIORS_KEY
    assert int.from_bytes(change.value[:8], "big") == 17
    assert priors.take_change() == []


def test_what_was_written_is_known_again_to_records_after_it():
    (change,) = taught().take_change()
    again = PartitionPriors(change.value)
    assert again.of("pump", 18).reach("flow") == 3.5
    assert again.of("pump", 17).reach("flow") == 0.0
    assert again.of("fan", 18).reach("flow") == 0.0
    assert again.take_change() == []
    assert PartitionPriors(change.value, is_stale=True).take_change() == [change]


def test_priors_that_cannot_be_read_are_refused_with_the_fix():
    (change,) = taught().take_change()
    later = change.value[:8] + msgspec.msgpack.encode([2, {}])
    for value in (change.value[:-1], change.value[:8], later):
        with pytest.raises(ConfigurationError, match="weir stream --rebuild"):
            PartitionPriors(value)
