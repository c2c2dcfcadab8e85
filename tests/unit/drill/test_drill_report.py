"""What the drill's gauges and table make of what they are given."""

from tests.faults.drill.gauges import Gauges, parse
from tests.faults.drill.oracle import Verdict
from tests.faults.drill.report import Result, markdown

TEXT = """# HELP weir_x_total Of a kind.
weir_x_total{reason="later"} 5.0
weir_x_total{reason="stored"} 100.0
python_gc 3
"""


def gauges() -> Gauges:
    made = Gauges(dict, dict)
    made.close()
    return made


def test_only_weirs_own_samples_are_followed():
    assert parse(TEXT) == {'weir_x_total{reason="later"}': 5.0, 'weir_x_total{reason="stored"}': 100.0}


def test_a_rise_goes_on_over_a_restart_that_begins_at_zero():
    followed = gauges()
    followed._take("sink", parse(TEXT))
    followed.reset()
    for later in (7.0, 2.0, 3.0):
        followed._take("sink", {'weir_x_total{reason="later"}': later})
    assert followed.rise("sink", "weir_x_total", 'reason="later"') == 2.0 + 2.0 + 1.0
    assert followed.highest("sink", "weir_x_total", 'reason="later"') == 7.0


def test_stream_workers_are_summed():
    followed = gauges()
    for worker in ("stream-1", "stream-2"):
        followed._take(worker, {"weir_y": 4.0})
    assert followed.rise("stream", "weir_y") == 8.0


def test_a_row_that_did_not_bite_is_not_good_even_where_nothing_is_lost():
    assert Result("row", "fault", verdict=Verdict(), unequal=[]).good
    assert not Result("row", "fault", verdict=Verdict(), unequal=[], failures=["no trace"]).good
    assert not Result("row", "fault", verdict=Verdict(lost=["d:1"]), unequal=[]).good
    assert not Result("row", "fault", verdict=Verdict(), unequal=["a record"]).good


def test_the_table_has_a_line_of_sums_and_says_what_was_not_run():
    results = [
        Result("a", "one", "bit", 3.2, verdict=Verdict(acknowledged=1200, stored=1199, lost=["x"]), unequal=[]),
        Result("b", "two", not_run="not run: no mount"),
    ]
    lines = markdown(results).splitlines()
    assert lines[2] == "| one | 1,200 | 1,199 | 0 | 0 | 1 | 0 | 0 | yes | bit | 3 s |"
    assert "not run: no mount" in lines[3]
    assert lines[4].startswith("| **all** | 1,200 | 1,199 | 0 | 0 | 1 |")
