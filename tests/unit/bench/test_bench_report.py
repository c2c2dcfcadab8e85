"""The page that the benchmark writes, from results of the agreed shape."""

import pytest

from bench import plan, report
from bench.flame import render
from bench.profile import parse, top

COST = {"cpu_s_per_million": 20.0, "per_s": 5000, "spread": [19.0, 22.0], "runs": 3, "messages": 300000, "rss_mb": 90}


def test_the_page_keeps_what_stands_around_the_marks():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.put_into(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        report.put_into("before", "new")


def test_a_row_lists_the_cheapest_first_and_a_failure_last():
    stage = {"quix": {"error": "it | ended"}, "weir": COST, "plain": {**COST, "cpu_s_per_million": 10.0}}
    lines = report.render({"stream_gaussian": stage}, "here").splitlines()
    names = [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:]
    assert names == ["| plain", "| **weir**", "| quix"]
    assert "| quix | **failed**: it / ended" in "\n".join(lines)


def test_rows_of_more_devices_say_so():
    assert report.title_of("stream_hst_10000_devices") == "Stream, HalfSpaceTrees 5x4 behind a scaler, 10,000 devices"


@pytest.mark.parametrize("size", [plan.WHOLE, plan.QUICK])
def test_the_agreed_stages_are_rows_of_each_plan(size):
    agreed = {"stream_gaussian", "stream_hst", "mqtt_to_kafka", "kafka_to_influxdb", "end_to_end"}
    assert agreed <= set(plan.rows(size))
    for row in plan.stream_rows(size):
        assert {"weir", "plain", "quix", "bytewax", "faust_documented"} <= set(row.contenders)
    assert {"telegraf", "influxdb_client"} <= plan.contenders(size)


def test_scale_shows_how_the_work_is_shared_and_what_a_rebalance_costs():
    stream = {"cpu_s_per_million": 90.0, "per_s": 4000, "share_of_cpu": [0.6, 0.4], "partitions": [3, 1]}
    weir = {"stream_2": stream, "bridge_1": {**COST, "share_of_cpu": [1.0]}, "rebalance": {"longest_standstill_s": 1.5}}
    page = report.render({"scale": {"weir": weir}}, "here")
    assert "| stream, 2 | 90.0 | 4,000 | 60% / 40% | 3 / 1 |" in page
    assert "no partition stood still longer than 1.5 s" in page


@pytest.mark.parametrize("row", plan.rows(plan.WHOLE))
def test_a_row_that_failed_as_a_whole_says_why(row):
    page = report.render({row: {"weir": {"error": "it ended"}}}, "here")
    assert f"### {report.title_of(row)}" in page
    assert "ailed**: it ended" in page


def test_a_profile_counts_a_function_once_a_sample_however_deep_it_recurses():
    own, under = top(parse("main (a.py:1);walk (a.py:2);walk (a.py:3) 4\nmain (a.py:9) 1"))
    assert own == {"walk (a.py)": 4, "main (a.py)": 1}
    assert under == {"main (a.py)": 5, "walk (a.py)": 4}


def test_a_flame_graph_escapes_names_and_leaves_out_what_is_too_narrow():
    drawn = render([(["<module>", "hot"], 10_000), (["<module>", "cold"], 1)], "a & b")
    assert "a &amp; b" in drawn
    assert "&lt;module&gt;: 10001 samples, 100.0%" in drawn
    assert "hot" in drawn
    assert "cold" not in drawn
