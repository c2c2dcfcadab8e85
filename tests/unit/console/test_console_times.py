"""Times as a person types them."""

from __future__ import annotations

import pytest

from services.console.times import ago, iso, parse_moment, parse_time
from services.runtime.errors import ConfigurationError

NOON_US = 1_777_636_800_000_000


@pytest.mark.parametrize(
    ("typed", "us"),
    [
        ("1777636800", NOON_US),
        ("1777636800.25", NOON_US + 250_000),
        ("1777636800123", NOON_US + 123_000),
        ("1777636800123456", NOON_US + 123_456),
        ("1777636800123456789", NOON_US + 123_456),
        ("2026-05-01T12:00:00Z", NOON_US),
        ("2026-05-01T12:00:00.123456Z", NOON_US + 123_456),
        ("2026-05-01T14:00:00+02:00", NOON_US),
        (" 2026-05-01 12:00:00+00:00 ", NOON_US),
    ],
)
def test_a_time_is_understood_whatever_its_unit(typed, us):
    assert parse_time(typed) == us


@pytest.mark.parametrize("typed", ["", "noon", "-5", "nan", "1e30", "2026-13-01", "0001-01-01"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(typed):
    with pytest.raises(ConfigurationError, match="ISO 8601"):
        parse_time(typed)


def test_what_is_printed_can_be_typed_again():
    for us in (NOON_US, NOON_US + 123_000, NOON_US + 1, 0):
        assert parse_time(iso(us)) == us


def test_how_long_ago_is_said_in_the_unit_that_fits():
    assert [ago(0, s * 1_000_000) for s in (5, 600, 7200 * 3, 86_400 * 4)] == ["5 s", "10 min", "6 h", "4 d"]


@pytest.mark.parametrize(
    ("typed", "seconds"), [("90s", 90), ("15m", 900), ("15min", 900), ("1h", 3600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_a_duration_is_so_long_ago(typed, seconds):
    assert parse_moment(typed, NOON_US) == NOON_US - seconds * 1_000_000


def test_a_moment_may_be_a_time_too():
    assert parse_moment("1777636800", 0) == NOON_US
    with pytest.raises(ConfigurationError, match="no time"):
        parse_moment("1 fortnight", 0)
