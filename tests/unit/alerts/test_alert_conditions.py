"""Conditions: what they mean, what is refused when they are loaded, and that celpy's own evaluator agrees."""

import celpy
import pytest
from alert_records import anomaly, window
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.condition import Condition, ConditionRefused, EvaluationError
from services.alerts.rules import FIELDS, Source

WINDOW = window(0, 85.0)
ANOMALY = anomaly("opened", 5)


def holds(text: str) -> bool:
    source, record = (
        (Source.ANOMALIES, ANOMALY)
        if "culprit" in text or "severity" in text
        else (
            Source.AGGREGATES,
            WINDOW,
        )
    )
    return Condition(text, FIELDS[source])(record)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean > 80", True),
        ("mean > 80.5 && count == 10", True),
        ("mean>80||count<3", True),
        ("!(mean > 80.0)", False),
        ("max - min >= 2.0", True),
        ("-mean < -84.0", True),
        ("count / 3 == 3 && count % 3 == 1 && -7 / 2 == -3 && -7 % 2 == -1", True),
        ("double(count) * 2.0 == 20.0", True),
        ("mean > 80.0 ? count > 100 : true", False),
        ('sensor == "temperature" && device.startsWith("pump-")', True),
        ("site.contains('erl') && site.endsWith(\"in\") && site.size() == 6", True),
        ('sensor in ["inlet", "temperature"]', True),
        ('site + "-1" == "berlin-1"', True),
        ('severity in ["warning", "critical"]', True),
        ('culprit == "temperature"', True),
        ("culprits.exists(c, c.share > 0.5 && c.sensor == culprit)", True),
        ("culprits.all(c, c.share > 0.5)", False),
        ("size(culprits) == 2 && culprits[0].observed > 90.0", True),
        ("culprits.exists(c, c.expected_low == null)", True),
        ("culprits.exists(a, culprits.all(b, a.share >= b.share))", True),
        ("(" * 900 + "true" + ")" * 900, True),
        ("true" + " && mean > 80" * 90, True),
        ('end_us == null && severity != "none"', True),
    ],
)
def test_conditions(text: str, expected: bool):
    assert holds(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "mean / (std - 1.0) > 1.0",
        "count / (count - 10) > 1",
        "culprits[2].share > 0.5",
        "culprits[-1].share > 0.5",
        "culprits.exists(c, c.expected_low > 100.0)",
    ],
)
def test_a_condition_without_a_value_says_so(text: str):
    with pytest.raises(EvaluationError):
        holds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean / (std - 1.0) > 1.0 || true", True),
        ("true || mean / (std - 1.0) > 1.0", True),
        ("mean / (std - 1.0) > 1.0 && false", False),
        ("false && mean / (std - 1.0) > 1.0", False),
    ],
)
def test_the_side_that_decides_wins_over_one_without_a_value(text: str, expected: bool):
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean * 2 > 3.0", "column 8: there is no double * int; write 2.0 instead of 2"),
        ('mean == "85"', "a double never equals a string"),
        ('mean > "85"', "a double cannot be compared with a string"),
        ("mean && true", "&& takes true or false, not a double"),
        ("!mean", "! takes true or false"),
        ("mean ? true : false", "is true or false, not a double"),
        ("true ? 1 : 'a'", "must be of one kind"),
        ("mean == null", "a double never equals a null"),
        ("sensor.matches('a')", "there is no function 'matches'"),
        ("abs(mean) > 1.0", "no such use of 'abs'"),
        ("mean.size() > 1", "has no size"),
        ("sensor.startsWith(1)", "takes one text"),
        ("mean in [1, 2]", "a double cannot be in a list"),
        ("sensor in []", "an empty list holds nothing"),
        ("sensor in ['a', 1]", "all of a list must be of one kind"),
        ("{'a': 1} == {'a': 1}", "have no use in a condition"),
        ("mean > 3u", "write numbers like 3 or 2.5"),
        ("culprits.exists(c, c.shre > 0.5)", "unknown field 'shre'; did you mean 'share'?"),
        ("culprits.exists(c.x, true)", "is asked of a list"),
        ("c.share > 0.5 && size(culprits) > 0", "unknown field 'c'"),
        ('severity == "bad"', "'bad' is never so; it is one of none, notice, warning, critical"),
        ('"closd" == phase && culprit == ""', "'closd' is never so"),
        ("x" * 3000, "the limit is 2000"),
        ("!" * 1000 + "true", "more than 100 operations inside each other"),
        ("true" + " || true" * 200, "more than 100 operations inside each other"),
    ],
)
def test_a_condition_that_cannot_work_is_refused_when_it_is_loaded(text: str, message: str):
    with pytest.raises(ConditionRefused) as caught:
        holds(text)
    assert message in str(caught.value)


NUMBERS = st.sampled_from(["mean", "min", "max", "std", "1.5", "0.0", "-2.5", "85.0"])
INTS = st.sampled_from(["count", "revision", "0", "7", "-3", "10"])
TEXTS = st.sampled_from(["sensor", "device", '"temperature"', "'pump'", '""'])


def binary(operands: st.SearchStrategy[str], operators: list[str]) -> st.SearchStrategy[str]:
    return st.builds("({} {} {})".format, operands, st.sampled_from(operators), operands)


CALCULATED = st.recursive(NUMBERS, lambda inner: binary(inner, ["+", "-", "*"]), max_leaves=4)
COUNTED = st.recursive(INTS, lambda inner: binary(inner, ["+", "-", "*", "/", "%"]), max_leaves=4)
COMPARED = st.one_of(
    binary(CALCULATED, ["<", "<=", ">", ">=", "==", "!="]),
    binary(COUNTED, ["<", "<=", ">", ">=", "==", "!="]),
    binary(TEXTS, ["<", ">=", "==", "!="]),
    st.builds("{}.{}({})".format, TEXTS, st.sampled_from(["startsWith", "endsWith", "contains"]), TEXTS),
    st.builds("({} in [{}, {}])".format, TEXTS, TEXTS, TEXTS),
)
CONDITIONS = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        binary(inner, ["&&", "||"]),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=5,
)
ENVIRONMENT = celpy.Environment()


@settings(max_examples=150, deadline=None)
@given(CONDITIONS)
def test_celpys_own_evaluator_agrees(text: str):
    context = {
        name: celpy.json_to_cel(getattr(WINDOW, name))
        for name in ("mean", "min", "max", "std", "count", "revision", "sensor", "device")
    }
    try:
        theirs = bool(ENVIRONMENT.program(ENVIRONMENT.compile(text)).evaluate(context))
    except celpy.CELEvalError:
        theirs = None
    try:
        ours = holds(text)
    except EvaluationError:
        ours = None
    assert ours == theirs
