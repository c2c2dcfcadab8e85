"""An open window of all sensors gives what adding each reading as it came would give, looked at in between or not."""

from array import array

from hypothesis import given
from hypothesis import strategies as st
from stream_builders import examples

from services.stream.open_page import OpenPage
from services.stream.window import Window, pack_window

START_US = 1_700_000_000_000_000
WIDTH_US = 300_000_000

kinds = st.sampled_from([(0, 1, 2), (0, 1, 2), (1,), (2, 0)])
moments = st.lists(
    st.tuples(kinds, st.integers(0, 20), st.lists(st.floats(-100, 100), min_size=3, max_size=3)), max_size=40
)


def packed(windows: dict[int, Window]):
    return [(number, pack_window(window, START_US), window.mean, window.m2) for number, window in windows.items()]


@examples(80)
@given(moments, st.integers(1, 6), st.sets(st.integers(0, 240), max_size=3))
def test_moments_of_any_sensors_in_any_order_make_the_windows_that_single_readings_make(told, times, looked_at):
    page, wanted = OpenPage(WIDTH_US, START_US), {}
    for turn, (sensors, second, values) in enumerate(told * times):
        page.add(START_US + second * 1_000_000, sensors, array("d", values[: len(sensors)]))
        for number, value in zip(sensors, values, strict=False):
            wanted.setdefault(number, Window()).add(START_US + second * 1_000_000, value)
        if turn in looked_at:
            assert packed(page.windows()) == packed(wanted)
    assert packed(page.windows()) == packed(wanted)
