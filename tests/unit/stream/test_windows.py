"""Windows: what falls into which, when they are told, corrected, and forgotten; and an oracle that recomputes them."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import (
    SECOND_US,
    StateTopic,
    at,
    bytes_of,
    cleaned,
    examples,
    feed,
    in_batches,
    ledgers_add_up,
    log,
    message,
    only,
    pipeline,
    raw,
)

from schemas import topics
from services.stream.window import pack_window
from services.stream.windows import DeviceWindows, Emission

S10, S60, S300 = 10, 60, 300
HORIZON_S = {S10: 60, S60: 3600, S300: 3600}


def told(outputs, width: int | None = None):
    """The aggregates, those of one width only if told."""
    return [a for a in only(topics.AGGREGATES, outputs) if width is None or a.width_us == width * SECOND_US]


# ------------------------------------------------------------------------------------------------------- one by one


def test_a_window_is_told_when_the_newest_reading_is_ten_seconds_past_its_end():
    device = pipeline()
    assert (
        told(feed(device, message(0, 1, flow=20.0), message(9.999, 2, flow=22.0), message(19.999, 3, flow=99.0))) == []
    )
    (window,) = told(feed(device, message(20.0, 4, flow=99.0)))
    assert (window.sensor, window.start_us, window.width_us) == ("flow", at(0), 10 * SECOND_US)
    assert (window.count, window.mean, window.min, window.max) == (2, 21.0, 20.0, 22.0)
    assert (window.first, window.last, window.p50, window.revision, window.provisional) == (20.0, 22.0, 21.0, 0, False)
    assert window.std == pytest.approx(2**0.5)


def test_one_reading_has_no_deviation():
    (window,) = told(feed(pipeline(), message(3, 1, flow=20.0), message(25, 2, flow=1.0)))
    assert (window.count, window.std, window.first, window.last) == (1, 0.0, 20.0, 20.0)


def test_first_and_last_are_by_event_time_not_by_arrival():
    (window,) = told(
        feed(
            pipeline(),
            message(5, 3, flow=5.0),
            message(1, 1, flow=1.0),
            message(3, 2, flow=3.0),
            message(21, 4, flow=0.0),
        )
    )
    assert (window.first, window.last) == (1.0, 5.0)


def test_of_equal_times_the_later_in_the_log_is_last():
    (window,) = told(feed(pipeline(), message(1, 1, flow=1.0), message(1, 2, flow=2.0), message(21, 3, flow=0.0)))
    assert (window.first, window.last) == (1.0, 2.0)


def test_within_the_allowed_lateness_there_is_one_record_and_no_correction():
    device = pipeline()
    outputs = feed(
        device, message(9, 2, flow=20.0), message(19, 3, flow=1.0), message(0, 1, flow=30.0), message(20, 4, flow=1.0)
    )
    (window,) = told(outputs)
    assert (window.count, window.mean, window.revision) == (2, 25.0, 0)


def test_a_late_reading_corrects_its_window_under_the_same_identity_with_the_next_revision():
    device = pipeline()
    (window,) = told(feed(device, message(1, 1, flow=20.0), message(21, 4, flow=1.0)))
    (corrected,) = told(feed(device, message(2, 2, flow=30.0)))
    (again,) = told(feed(device, message(3, 3, flow=40.0)))
    assert {(w.sensor, w.start_us, w.width_us) for w in (window, corrected, again)} == {("flow", at(0), 10 * SECOND_US)}
    assert [(w.revision, w.count, w.mean) for w in (window, corrected, again)] == [
        (0, 1, 20.0),
        (1, 2, 25.0),
        (2, 3, 30.0),
    ]
    assert window.id != corrected.id


def test_all_late_readings_of_one_upload_correct_their_window():
    """They share an offset, which must not make the second look like a replay of the first."""
    device = pipeline()
    feed(device, message(1, 1, flow=20.0), message(41, 2, flow=1.0))
    late = [{"ts": at(second), "values": {"flow": value}} for second, value in ((2, 30.0), (3, 40.0), (4, 50.0))]
    corrected = told(feed(device, raw(late, received=42.0)), S10)
    assert [(w.start_us, w.revision, w.count, w.mean) for w in corrected] == [
        (at(0), 1, 2, 25.0),
        (at(0), 2, 3, 30.0),
        (at(0), 3, 4, 35.0),
    ]


def test_a_window_that_nothing_was_in_is_told_when_a_late_reading_makes_it():
    device = pipeline()
    feed(device, message(1, 1, flow=20.0), message(41, 3, flow=1.0))
    (window,) = told(feed(device, message(12, 2, flow=30.0)), S10)
    assert (window.start_us, window.count, window.revision) == (at(10), 1, 0)


@pytest.mark.parametrize(
    ("newest", "corrected"),
    [
        (19.999, []),
        (20.0, [S10]),
        (79.999, [S10, S60]),
        (80.0, [S60]),
        (309.999, [S60]),
        (310.0, [S60, S300]),
        (3669.999, [S60, S300]),
        (3670.0, [S300]),
        (3909.999, [S300]),
        (3910.0, []),
    ],
)
def test_how_long_a_window_is_corrected(newest, corrected):
    """By the watermark: the 10 s window for 60 s after its end, the 1 min and the 5 min window for an hour."""
    device = pipeline()
    feed(device, message(0, 1, flow=20.0), message(newest, 3, flow=1.0))
    assert [w.width_us // SECOND_US for w in told(feed(device, message(0.5, 2, flow=30.0)))] == corrected


def test_past_every_horizon_a_reading_is_stored_and_flagged_but_neither_aggregated_nor_scored():
    device = pipeline()
    feed(device, message(0, 1, flow=20.0), message(4000, 3, flow=1.0))
    outputs = feed(device, message(0.5, 2, flow=30.0, received=4001.0))
    (clean,) = only(topics.CLEAN, outputs)
    assert (clean.values, clean.late) == ({"flow": 30.0}, True)
    assert {output.topic for output in outputs} == {topics.CLEAN}
    assert ledgers_add_up(device)


def test_a_reading_too_late_for_ten_seconds_still_counts_in_the_longer_windows_and_is_not_late():
    device = pipeline()
    feed(device, message(0, 1, flow=20.0), message(400, 3, flow=1.0))
    outputs = feed(device, message(0.5, 2, flow=30.0, received=401.0))
    assert [w.width_us // SECOND_US for w in told(outputs)] == [S60, S300]
    assert not only(topics.CLEAN, outputs)[0].late


def test_one_devices_time_closes_no_other_devices_windows():
    partition = pipeline()
    outputs = feed(partition, message(1, 1, flow=20.0), message(200, 1, device="pump-2", flow=1.0))
    assert told(outputs) == []


def test_a_silent_devices_open_windows_are_shown_once_as_provisional_and_nothing_changes():
    device = pipeline()
    feed(device, message(1, 1, flow=20.0))
    before = StateTopic()
    before.checkpoint(device)
    shown = device.idle_windows(received_before_us=at(30), ended_before_us=at(30))
    assert [(w.width_us // SECOND_US, w.provisional) for w in told(shown)] == [(S10, True)]
    assert device.idle_windows(at(30), at(30)) == []
    assert [w.width_us // SECOND_US for w in told(device.idle_windows(at(30), at(70)))] == [S60]
    feed(device, message(2, 2, flow=30.0))
    (final,) = told(feed(device, message(20, 3, flow=0.0)))
    assert (final.count, final.revision, final.provisional) == (2, 0, False)
    assert told(shown)[0].id != final.id


def test_who_speaks_again_and_falls_silent_again_is_shown_again():
    device = pipeline()
    feed(device, message(1, 1, flow=20.0))
    assert len(device.idle_windows(at(30), at(30))) == 1
    assert device.idle_windows(at(0), at(30)) == []
    feed(device, message(2, 2, flow=20.0))
    assert told(device.idle_windows(at(31), at(30)))[0].count == 2


# ---------------------------------------------------------------------------------------------------- memory of pages


def pages_after(seconds: float, step: float) -> DeviceWindows:
    windows = DeviceWindows()
    newest, emitted = 0, []
    for i in range(int(seconds / step)):
        event = round(i * step * SECOND_US)
        windows.add(event, {"flow": 1.0}, newest_us=newest, offset=i, emitted=emitted)
        newest = event
        windows.close(newest, i, emitted)
    return windows


def test_pages_are_forgotten_after_their_horizon():
    windows = pages_after(3 * 3600, 5.0)
    expired, still_open = windows.take_expired(), windows.open_ids()
    by_width = Counter(width // SECOND_US for width, _ in windows.page_ids())
    assert by_width == {S10: 6, S60: 60, S300: 12}
    assert len(still_open) <= 6
    assert len(expired) == 3 * 360 + 180 + 36 - 78 - len(still_open)


def test_a_device_that_only_ever_corrects_does_not_keep_its_pages_for_ever():
    device = pipeline()
    state = StateTopic()
    for minute in range(200):
        # A moment without readings moves the device's time on; the reading itself is always half an hour late.
        feed(device, message(60.0 * minute, 2 * minute), message(60.0 * minute - 1800, 2 * minute + 1, flow=1.0))
    state.checkpoint(device)
    assert 0 < sum(b"|" in key for key in state.last()) <= 60 + 12 + 7


def test_state_of_forgotten_pages_is_removed_from_the_topic():
    device = pipeline()
    state = StateTopic()
    for second in range(0, 7200, 30):
        feed(device, message(second, second, flow=1.0))
        state.checkpoint(device)
    assert sum(b"|" in key for key in state.last()) <= 7 + 60 + 12


# ------------------------------------------------------------------------------------------------------------ oracle


def oracle(readings, width: int):
    """By window start: the values that count in it, in log order, and how many of them its first record knew.

    Written from design.md alone: lateness is judged by the device's newest event time before a reading.
    """
    windows, known_at_close = defaultdict(list), {}
    newest = float("-inf")
    for second, value in readings:
        watermark = newest - 10.0
        start = second // width * width
        if start + width + HORIZON_S[width] > watermark:
            windows[start].append((second, value))
            if start + width <= watermark:
                known_at_close.setdefault(start, len(windows[start]))
        newest = max(newest, second)
        for other in windows:
            if other + width <= newest - 10.0:
                known_at_close.setdefault(other, len(windows[other]))
    return {start: (values, known_at_close[start]) for start, values in windows.items() if start in known_at_close}


def equals_numpy(window, values) -> None:
    numbers = np.array([value for _, value in values])
    scale = max(1.0, float(np.abs(numbers).max()))
    assert window.count == len(numbers)
    assert window.mean == pytest.approx(float(np.mean(numbers)), rel=1e-9, abs=1e-9 * scale)
    expected_std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
    assert window.std == pytest.approx(expected_std, rel=1e-9, abs=1e-9 * scale)
    assert (window.min, window.max) == (numbers.min(), numbers.max())
    first = min(range(len(values)), key=lambda i: (values[i][0], i))
    last = max(range(len(values)), key=lambda i: (values[i][0], i))
    assert (window.first, window.last) == (values[first][1], values[last][1])
    if len(numbers) <= 64:
        assert [window.p50, window.p95] == pytest.approx(
            list(np.percentile(numbers, [50, 95])), rel=1e-9, abs=1e-9 * scale
        )
    else:
        assert window.min <= window.p50 <= window.p95 <= window.max


def recomputed(readings, outputs) -> None:
    for width in (S10, S60, S300):
        expected = oracle(readings, width)
        records = defaultdict(list)
        for window in told(outputs, width):
            records[(window.start_us - at(0)) / SECOND_US].append(window)
        assert records.keys() == expected.keys()
        for start, (values, known_at_close) in expected.items():
            revisions = records[start]
            assert [w.revision for w in revisions] == list(range(len(values) - known_at_close + 1))
            for window in revisions:
                equals_numpy(window, values[: known_at_close + window.revision])


steps = st.tuples(
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 9.0, 40.0, 400.0]),
    st.sampled_from([0.0] * 12 + [0.3, 2.0, 8.0, 15.0, 65.0, 90.0, 500.0, 3600.0, 3900.0, 5000.0]),
    st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float),
)


@examples(60)
@given(st.lists(steps, min_size=1, max_size=120), st.integers(0, 120))
def test_aggregates_equal_an_offline_recomputation_whatever_comes_late_and_through_a_restart(plan, cut):
    readings, now = [], 5000.0
    for advance, lateness, value in plan:
        now += advance
        readings.append((now - lateness, value))
    records = log(message(second, seq, received=now, flow=value) for seq, (second, value) in enumerate(readings))
    # Sequence numbers only keep equal times apart here; a jump back in them would be a restart, but they only rise.
    device = pipeline()
    outputs = device.process(records[:cut])
    state = StateTopic()
    state.checkpoint(device)
    outputs += pipeline(restored=state.read()).process(records[cut:])
    recomputed(readings, outputs)


def test_a_dense_stream_equals_its_recomputation_too():
    random = np.random.default_rng(7)
    seconds = np.cumsum(random.exponential(0.4, 3000)).round(3) + 5000
    late = np.where(random.random(3000) < 0.1, random.exponential(20.0, 3000), 0.0).round(3)
    readings = list(zip((seconds - late).tolist(), (1e5 + random.normal(0, 1, 3000)).tolist(), strict=True))
    records = log(
        message(second, seq, received=seconds[-1], flow=value) for seq, (second, value) in enumerate(readings)
    )
    device = pipeline()
    outputs = in_batches(device, records, 100)
    assert len(cleaned(outputs)) == 3000
    recomputed(readings, outputs)


# ------------------------------------------------------------------------------------------------------------ written


@examples(40)
@given(st.lists(steps, max_size=40), st.lists(steps, max_size=20))
def test_windows_that_were_written_and_read_go_on_as_if_nothing_had_been(before, after):
    whole, cut = DeviceWindows(), DeviceWindows()
    newest = 10_000 * SECOND_US
    moment, offset, emitted_by = newest, 0, []

    def take(windows: DeviceWindows, event_us: int, value: float) -> list[Emission]:
        emitted: list[Emission] = []
        windows.add(event_us, {"b": value, "a": -value}, newest_us=newest, offset=offset, emitted=emitted)
        windows.close(max(newest, event_us), offset, emitted)
        return emitted

    def described(emitted: list[Emission]):
        return [(sensor, width, start, pack_window(window, start)) for sensor, width, start, window, _ in emitted]

    pages = {}
    for part in (before, after):
        for advance, lateness, value in part:
            moment += round(advance * SECOND_US)
            event_us = moment - round(lateness * SECOND_US)
            emitted_by = [described(take(windows, event_us, value)) for windows in (whole, cut)]
            assert emitted_by[0] == emitted_by[1]
            newest, offset = max(newest, event_us), offset + 1
        pages |= dict(cut.take_changed())
        for page_id in cut.take_expired():
            pages.pop(page_id, None)
        read = DeviceWindows()
        read.restore(cut.pack_open(), pages, offset - 1)
        cut = read
    assert cut.pack_open() == whole.pack_open()
    whole.take_expired()
    assert cut.page_ids() == whole.page_ids()
    assert dict(whole.take_changed()) == pages
    assert cut.next_due_us == whole.next_due_us


def test_a_restored_device_does_not_tell_closed_windows_again():
    records = log(message(second, second, flow=float(second)) for second in range(0, 100, 3))
    device = pipeline()
    first = device.process(records)
    state = StateTopic()
    state.checkpoint(device)
    restored = pipeline(restored=state.read())
    assert restored.process(records) == []
    assert bytes_of(restored.process(log([message(102, 102, flow=1.0)], 34))) == bytes_of(
        pipeline().process([*records, *log([message(102, 102, flow=1.0)], 34)])[len(first) :]
    )
