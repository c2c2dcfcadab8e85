"""`weir model`: which commands are given, and which are refused before anything is in the log."""

from __future__ import annotations

import pytest

from schemas.operator import Command, OperatorCommand
from services.console.model_control import Paused, order_for, paused
from services.console.times import parse_duration
from services.runtime.errors import ConfigurationError
from services.stream.device import read_snapshot
from tests.unit.stream.stream_builders import at, command, feed, message, pipeline

KEY = "acme/pump-1"


def snapshot(*commands):
    device = pipeline()
    feed(device, message(0, 1, flow=1.0, gas=2.0), *commands)
    (state,) = [change.value for change in device.take_changes() if change.key == KEY.encode()]
    return read_snapshot(KEY, state)


def order(known, given=Command.PAUSE, **more):
    told = {"sensor": None, "for_us": None, "by": "ann@plant", "reason": ""} | more
    return order_for(KEY, known, given, **told)


def test_a_command_says_what_for_how_long_who_and_why():
    found = order(snapshot(), sensor="flow", for_us=parse_duration("2h"), reason="new bearing")
    assert found == OperatorCommand(Command.PAUSE, "flow", 7200, "ann@plant", "new bearing")


def test_a_device_that_was_never_checkpointed_is_refused():
    with pytest.raises(ConfigurationError, match=r"nothing was checkpointed of a device 'acme/pump-1'"):
        order(None)


def test_a_sensor_that_the_device_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(ConfigurationError, match=r"no sensor 'volume'; it has flow, gas"):
        order(snapshot(), sensor="volume")


@pytest.mark.parametrize("wrong", [{"reason": "two\nlines"}, {"reason": "x" * 501}, {"for_us": 400 * 86_400 * 10**6}])
def test_what_the_stream_would_refuse_is_refused_here(wrong):
    with pytest.raises(ConfigurationError, match="this makes no command"):
        order(snapshot(), **wrong)


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "1w", "0.5s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigurationError, match="no duration"):
        parse_duration(text)


def test_a_duration_has_its_unit():
    assert [parse_duration(text) for text in ("90s", "1.5m", "2h", "7d")] == [
        90_000_000, 90_000_000, 7_200_000_000, 604_800_000_000,
    ]  # fmt: skip


def test_what_is_paused_is_read_from_the_state():
    whole = command({"command": "pause"}, received=1)
    flow = command({"command": "pause", "sensor": "flow", "for_s": 60}, received=1)
    assert paused(KEY, snapshot(whole, flow).oversight) == [Paused(KEY, "", None), Paused(KEY, "flow", at(61))]
    assert paused(KEY, snapshot(whole, command({"command": "resume"}, received=2)).oversight) == []
