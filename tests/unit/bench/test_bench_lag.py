"""When lag counts as flat."""

import pytest

from bench.stage_end_to_end import is_flat


@pytest.mark.parametrize(
    ("waiting", "flat"),
    [
        ([500] * 12, True),
        ([0, 0, 0, 500, 500, 500, 500, 500, 500], True),
        ([900, 900, 900, 500, 500, 500, 100, 100, 100], True),
        ([0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000], False),
        ([100, 100, 100, 100, 100, 100, 800, 800, 800], False),
    ],
)
def test_lag_is_flat_when_its_last_third_is_no_higher_than_its_second(waiting, flat):
    assert is_flat(waiting, per_second=1000.0) is flat
