"""Hours since 1970 (UTC), and where in a day or week they lie: what is compared with what."""

HOUR_US = 3_600_000_000
KINDS_OF_HOUR = 48
"""Of a day, working days and week-ends apart."""
_DAYS_FROM_MONDAY = 3
"""1 January 1970 was a Thursday."""


def hour_of_week(hour: int) -> int:
    """0 is Monday from midnight on."""
    return (hour // 24 + _DAYS_FROM_MONDAY) % 7 * 24 + hour % 24


def kind_of_hour(hour: int) -> int:
    """The hour of the day, plus 24 at a week-end."""
    return hour % 24 + (24 if hour_of_week(hour) >= 5 * 24 else 0)
