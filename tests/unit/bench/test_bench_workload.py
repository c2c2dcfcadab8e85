"""All contenders get the same messages, and all runs the same but for the time they end at."""

import json

from bench.workload import LATENESS_S, SENSORS, WIDTHS_S, Workload

NOW_US = 1_790_000_000_000_000


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    first = Workload(devices=7, messages=50, end_us=NOW_US)
    assert first.encoded == Workload(devices=7, messages=50, end_us=NOW_US).encoded
    assert first.encoded != Workload(devices=7, messages=50, end_us=NOW_US, seed=2).encoded


def test_another_end_shifts_times_by_whole_windows_and_nothing_else():
    one, other = (Workload(3, 30, end_us).encoded for end_us in (NOW_US, NOW_US + 3_600_000_000))
    for a, b in zip(one, other, strict=True):
        assert b.at_us - a.at_us == 3_600_000_000
        assert json.loads(a.payload)["values"] == json.loads(b.payload)["values"]


def test_each_device_sends_a_message_a_second_with_three_readings_before_the_end():
    workload = Workload(devices=4, messages=10, end_us=NOW_US)
    mine = [message for message in workload.encoded if message.device == "d000001"]
    assert [message.seq for message in mine] == [0, 1, 2]
    assert [message.at_us - mine[0].at_us for message in mine] == [0, 1_000_000, 2_000_000]
    assert all(message.at_us < NOW_US for message in workload.encoded)
    payload = json.loads(mine[2].payload)
    assert payload["ts"] == mine[2].at_us // 1000
    assert tuple(payload["values"]) == SENSORS


def test_expected_windows_are_those_that_lateness_has_passed():
    workload = Workload(devices=3, messages=3 * 140 - 2, end_us=NOW_US)
    expected = 0
    for name in {message.device for message in workload.encoded}:
        times = [message.at_us // 1_000_000 for message in workload.encoded if message.device == name]
        for width in WIDTHS_S:
            starts = {at // width * width for at in times}
            expected += sum(start + width + LATENESS_S <= times[-1] for start in starts) * len(SENSORS)
    assert workload.windows() == expected > 0
