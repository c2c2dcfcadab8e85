"""What the benchmark publishes: medians, spread, ratios, in the shape that was agreed on."""

import pytest

from bench import guard
from bench.figures import Run, Sample, at_mark, entry, percentile, ratio, with_ratios


def run(cpu_s: float, messages: int = 1_000_000, wall_s: float = 10.0) -> Run:
    return Run(messages, cpu_s, wall_s, rss_mb=100.0, leave_cpu_s=0.5)


def test_figures_are_medians_with_the_least_and_the_most_beside_them():
    found = entry([run(30.0), run(10.0, wall_s=20.0), run(11.0)], "a note")
    assert found["cpu_s_per_million"] == 11.0
    assert found["spread"] == [10.0, 30.0]
    assert found["per_s"] == 100_000
    assert (found["runs"], found["messages"], found["notes"]) == (3, 1_000_000, "a note")


def test_cost_is_for_a_million_messages_whatever_was_run():
    assert entry([run(2.0, messages=40_000)])["cpu_s_per_million"] == 50.0


def test_each_contender_is_compared_with_weir_and_a_failure_is_kept_as_it_is():
    stage = {"weir": {"cpu_s_per_million": 20.0}, "quix": {"cpu_s_per_million": 90.0}, "bytewax": {"error": "gone"}}
    compared = with_ratios(stage)
    assert compared["quix"]["times_weir"] == 4.5
    assert compared["weir"]["times_weir"] == 1.0
    assert compared["bytewax"] == {"error": "gone"}
    assert ratio(stage, "weir", "quix") == pytest.approx(20 / 90)


def test_without_weirs_figure_nobody_is_compared():
    stage = {"weir": {"error": "gone"}, "plain": {"cpu_s_per_million": 20.0}}
    assert with_ratios(stage) == stage


def test_cost_counts_from_the_mark_on_the_line_between_two_looks():
    samples = [Sample(0, 2.0, 0.0), Sample(100, 3.0, 1.0), Sample(300, 7.0, 3.0)]
    assert at_mark(samples, 100) == Sample(100, 3.0, 1.0)
    assert at_mark(samples, 200) == Sample(200, 5.0, 2.0)
    assert at_mark(samples, 0) == samples[0]


def test_a_mark_that_was_never_reached_is_no_figure():
    with pytest.raises(ValueError, match="never reached"):
        at_mark([Sample(0, 0.0, 0.0), Sample(5, 1.0, 1.0)], 6)


def test_percentiles_are_values_that_were_seen():
    values = [float(n) for n in range(1, 1001)]
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999)] == [500.0, 990.0, 999.0]
    assert percentile([7.0], 0.999) == 7.0


def test_the_guard_lets_half_as_much_again_pass_and_no_more():
    assert not guard.is_worse(1.5, 1.0)
    assert guard.is_worse(1.52, 1.0)
