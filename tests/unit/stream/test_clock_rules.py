"""Whose clock a reading's time is: design.md's table, row by row."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stream_builders import DAY_S, NOON_US, SECOND_US, at, examples

from schemas.reasons import Reason
from schemas.telemetry import TimeSource
from services.runtime.errors import Poison
from services.stream.clock_rules import event_time

NOON_S = NOON_US // SECOND_US


@pytest.mark.parametrize("sent", [None, 0, 0.0, -0.0, 1, 86_400, "0", "1970-01-01T00:00:05Z", 364 * DAY_S])
def test_without_a_time_or_with_one_of_1970_the_bridges_clock_counts(sent):
    assert event_time(sent, NOON_US) == (NOON_US, TimeSource.RECEIVED)


@pytest.mark.parametrize(
    "sent",
    [
        NOON_S,
        NOON_S * 1000,
        NOON_S * 1_000_000,
        NOON_S * 1_000_000_000,
        float(NOON_S),
        NOON_S * 1e3,
        NOON_S * 1e6,
        NOON_S * 1e9,
        str(NOON_S),
        str(NOON_S * 1000),
        str(NOON_S * 1_000_000_000),
        "2026-10-21T12:00:00Z",
        "2026-10-21T12:00:00",
        "2026-10-21 12:00:00.000",
        "2026-10-21T14:00:00+02:00",
        "20261021T120000Z",
    ],
)
def test_every_way_to_write_noon_is_noon(sent):
    assert event_time(sent, at(2)) == (NOON_US, TimeSource.DEVICE)


@pytest.mark.parametrize(
    ("sent", "microseconds"), [(NOON_S + 0.25, 250_000), (NOON_S * 1e3 + 0.5, 500), ("2026-10-21T12:00:00.000001Z", 1)]
)
def test_parts_of_the_unit_are_kept(sent, microseconds):
    assert event_time(sent, at(2)) == (NOON_US + microseconds, TimeSource.DEVICE)


def test_digits_are_a_count_even_where_python_sees_a_date_of_the_18th_century():
    assert event_time("1712011412304", 1_712_011_412_999_000) == (1_712_011_412_304_000, TimeSource.DEVICE)


def test_eight_digits_are_a_date():
    assert event_time("20261021", at(2)) == (at(-12 * 3600), TimeSource.DEVICE)


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [(300, (at(300), TimeSource.DEVICE)), (300.000001, (NOON_US, TimeSource.RECEIVED_AHEAD)),
     (10 * 365 * DAY_S, (NOON_US, TimeSource.RECEIVED_AHEAD))],
)  # fmt: skip
def test_five_minutes_ahead_are_believed_more_are_not(ahead_s, expected):
    assert event_time(at(ahead_s), NOON_US) == expected


def test_seven_days_back_are_believed():
    assert event_time(at(-7 * DAY_S), NOON_US) == (at(-7 * DAY_S), TimeSource.DEVICE)


@pytest.mark.parametrize(
    "sent",
    [
        at(-7 * DAY_S) - 1,
        1_000_000_000,
        "2001-09-09T01:46:40Z",
        -5,
        -0.5,
        "-5",
        "1969-12-31T23:59:59Z",
        "not a time",
        "",
        "2026-13-01",
        "١٢٣",
        "2026-10-21\ud80012:00:00",
        "9" * 41,
        "nan",
        "-inf",
        True,
        [NOON_S],
        {"s": NOON_S},
        float("nan"),
        float("inf"),
        1e300,
        -1e303,
        10**30,
        int("9" * 4000),
    ],
)
def test_older_than_seven_days_negative_or_not_a_time_is_bad_time(sent):
    with pytest.raises(Poison) as poison:
        event_time(sent, NOON_US)
    assert poison.value.reason is Reason.BAD_TIME


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"[0-9+\-:TZ .]{1,30}", fullmatch=True),
    st.lists(st.integers(), max_size=2),
)
near_noon = st.integers(-8 * DAY_S, DAY_S).flatmap(
    lambda second: st.sampled_from([at(second), at(second) // 1000, at(second) // 1_000_000, at(second) * 1000])
)


@examples(250)
@given(anything | near_noon, st.integers(365 * DAY_S * SECOND_US, 2**53))
@example("0001-01-01T00:00:00+14:00", NOON_US)
@example("9999-12-31T23:59:59.999999-14:00", NOON_US)
def test_an_event_time_lies_between_seven_days_before_and_five_minutes_after(sent, received_us):
    try:
        event_us, source = event_time(sent, received_us)
    except Poison as poison:
        assert poison.reason is Reason.BAD_TIME
        return
    assert received_us - 7 * DAY_S * SECOND_US <= event_us <= received_us + 300 * SECOND_US
    assert type(event_us) is int
    if source is not TimeSource.DEVICE:
        assert event_us == received_us
