"""Quantiles: exact up to 64 values, within the stated bound beyond."""

import bisect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import WINDOW_FIELDS, examples

from services.stream.quantiles import BUFFER, Quantiles
from services.stream.window import Window, pack_window, unpack_window

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def sketch(values) -> Quantiles:
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    return quantiles


def bound(count: int) -> float:
    return count / 64 * math.ceil(math.log2(count / 64))


def rank_error(values: list[float], found: float, share: float) -> float:
    """How far the ranks that `found` holds are from the wanted one (or from the two that it lies between)."""
    ordered = sorted(values)
    wanted = share * (len(values) - 1)
    lowest, highest = bisect.bisect_left(ordered, found), bisect.bisect_right(ordered, found) - 1
    return max(0, lowest - math.ceil(wanted), math.floor(wanted) - highest)


@examples(200)
@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=BUFFER), st.floats(0, 1))
def test_up_to_64_values_are_exact(values, share):
    expected = float(np.percentile(values, share * 100))
    assert sketch(values).at(share)[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@examples(100)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=BUFFER))
def test_p50_and_p95_of_few_values_are_numpys(values):
    expected = np.percentile(values, [50, 95])
    assert sketch([float(value) for value in values]).at(0.5, 0.95) == pytest.approx(
        list(expected), rel=1e-12, abs=1e-12
    )


ORDERS = {
    "sorted": lambda n: list(range(n)),
    "reversed": lambda n: list(range(n, 0, -1)),
    "organ pipe": lambda n: [*range(0, n, 2), *range(n - 1, 0, -2)],
    "outside in": lambda n: [x for pair in zip(range(n // 2), range(n, n // 2, -1), strict=False) for x in pair],
    "sawtooth": lambda n: [i % 64 for i in range(n)],
    "blocks of 64 reversed": lambda n: [i // 64 * 64 + 63 - i % 64 for i in range(n)],
    "two values": lambda n: [i % 2 for i in range(n)],
    "all the same": lambda n: [7] * n,
    "one outlier in 64": lambda n: [1000 if i % 64 == 5 else i % 7 for i in range(n)],
    "random": lambda n: np.random.default_rng(1).permutation(n).tolist(),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [65, 96, 128, 129, 300, 1000, 3000, 9000])
def test_beyond_64_the_rank_is_within_the_stated_bound(order, count):
    values = [float(value) for value in ORDERS[order](count)]
    for share, found in zip(SHARES, sketch(values).at(*SHARES), strict=True):
        assert rank_error(values, found, share) <= bound(len(values))


@examples(100)
@given(st.lists(st.floats(-1e6, 1e6), min_size=65, max_size=700))
def test_beyond_64_any_values_in_any_order_keep_the_bound(values):
    for share, found in zip(SHARES, sketch(values).at(*SHARES), strict=True):
        assert rank_error(values, found, share) <= bound(len(values))


def test_which_half_stays_alternates_so_that_errors_cancel():
    values = [float(value) for value in ORDERS["random"](30_000)]
    shares = [step / 20 for step in range(1, 20)]
    errors = [found - share * 29_999 for found, share in zip(sketch(values).at(*shares), shares, strict=True)]
    assert abs(sum(errors) / len(errors)) < 0.01 * 30_000


@pytest.mark.parametrize("count", [1, 64, 65, 1000, 20_000])
def test_nothing_is_lost_and_memory_is_logarithmic(count):
    levels = sketch(map(float, range(count))).levels
    kept = sum(len(level) << weight for weight, level in enumerate(levels))
    assert kept == count
    assert all(len(level) <= BUFFER for level in levels)
    assert len(levels) <= 2 + max(0, math.ceil(math.log2(count / BUFFER)))


def fields_of(window: Window) -> list:
    """All that is known of a window, to the sign of a zero."""
    told = [getattr(window, name) for name in WINDOW_FIELDS]
    return [*map(repr, told), repr(window.quantiles.levels), window.quantiles.turns]


told = st.floats(-1e6, 1e6) | st.integers(-300, 300).map(lambda tenths: tenths / 10) | st.sampled_from([0.0, -0.0])


@examples(60)
@given(st.lists(told, max_size=400), st.lists(told, max_size=200))
def test_a_window_that_was_packed_goes_on_as_one_that_was_not(before, after):
    whole, cut = Window(), Window()
    for second, value in enumerate(before):
        whole.add(second, value)
        cut.add(second, value)
    if before:
        cut = unpack_window(pack_window(cut, 0), 0)
    for second, value in enumerate(after):
        whole.add(second, value)
        cut.add(second, value)
    if before or after:
        assert pack_window(cut, 0) == pack_window(whole, 0)
        assert fields_of(cut) == fields_of(whole)
