"""An open window of all sensors gives what adding each reading as it came would give, looked at and packed or not."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import examples

from services.stream.open_page import OpenPage
from services.stream.rows import MOST_ROWS, Rows
from services.stream.window import Window, pack_window

START_US = 1_700_000_000_000_000
WIDTH_US = 300_000_000

kinds = st.sampled_from([(0, 1, 2), (0, 1, 2), (1,), (2, 0)])
moments = st.lists(
    st.tuples(
        kinds,
        st.booleans(),
        st.integers(0, 20),
        st.lists(st.one_of(st.floats(-100, 100), st.integers(-9, 9).map(float)), min_size=3, max_size=3),
    ),
    max_size=40,
)


def packed(windows: dict[int, Window]):
    return [(number, pack_window(window, START_US), window.mean, window.m2) for number, window in windows.items()]


@examples(80)
@given(moments, st.integers(1, 6), st.dictionaries(st.integers(0, 240), st.sampled_from(["show", "pack", "read"])))
def test_moments_of_any_sensors_in_any_order_make_the_windows_that_single_readings_make(told, times, done):
    """Some moments lie in this window, some in others that share its rows; now and then rows are forgotten."""
    rows, page, wanted = Rows(), OpenPage(WIDTH_US, START_US), {}
    for turn, (sensors, is_mine, second, values) in enumerate(told * times):
        if sensors != rows.sensors or rows.count == MOST_ROWS:
            page.fold(rows)
            rows.begin(sensors)
        row = rows.count
        rows.add(dict(zip(sensors, values, strict=False)))
        if is_mine:
            page.add(START_US + second * 1_000_000, row, rows)
            for number, value in zip(sensors, values, strict=False):
                wanted.setdefault(number, Window()).add(START_US + second * 1_000_000, value)
        what = done.get(turn)
        if what == "show":
            assert packed(page.shown(rows)) == packed(wanted)
        elif what is not None:
            page.renumber(rows.drop(max(0, page.needs_from())))
            written = rows.sensors, rows.count, rows.pack(), page.pack(), page.span()
            if what == "read":
                rows, page = Rows(), OpenPage(WIDTH_US, START_US)
                rows.restore(*written[:3])
                page.restore(*written[3:], rows)
                assert (rows.sensors, rows.count, rows.pack(), page.pack(), page.span()) == written
    assert packed(page.shown(rows)) == packed(wanted)
    assert packed(page.closed(rows)) == packed(wanted)


def test_rows_that_were_cut_off_or_of_which_a_page_has_more_than_there_are_cannot_be_read():
    rows, page = Rows(), OpenPage(WIDTH_US, START_US)
    rows.begin((0, 1))
    for row in range(11):
        rows.add({"a": row / 10, "b": -0.5})
        page.add(START_US + row, row, rows)
    packed = rows.pack()
    for length in range(len(packed)):
        with pytest.raises((ValueError, IndexError, struct.error)):
            Rows().restore((0, 1), 11, packed[:length])
    with pytest.raises(ValueError, match="rows"):
        page.restore(b"", (3, 9, 0, 8, 0, 8), rows)
