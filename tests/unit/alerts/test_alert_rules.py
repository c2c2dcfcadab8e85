"""What loading says of rules that are wrong; and what it makes of those that are right."""

from pathlib import Path

import pytest

from services.alerts import rules
from services.alerts.rules import Channel, Source
from services.runtime.errors import ConfigurationError

DEFAULT_RULES = Path(__file__).parents[3] / "deploy" / "alerts"


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        rules.parse(text)
    first, *problems = str(caught.value).split("\n  ")
    assert first == "rules refused:"
    return problems


def refused_rule(**changed: str) -> list[str]:
    keys = {"name": "r", "source": "aggregates", "when": "mean > 1.0"} | changed
    return refused("rules:\n  - " + "\n    ".join(f"{key}: {value}" for key, value in keys.items()))


def test_the_rules_that_weir_ships_are_loaded():
    assert set(rules.load(DEFAULT_RULES).by_name) == {"anomaly", "temperature-too-high"}


def test_a_rule_says_only_what_differs_from_the_defaults():
    made = rules.parse("rules: [{name: r, source: aggregates, when: mean > 1.0}]").by_name["r"]
    assert (made.window_us, made.for_us, made.severity) == (10_000_000, 0, "warning")
    assert made.clear is None
    assert made.channels == set(Channel)
    of_anomalies = rules.parse("rules: [{name: r, source: anomalies, when: score > 0.7}]").by_name["r"]
    assert of_anomalies.follows_severity


def test_all_problems_are_named_at_once_with_file_line_and_rule():
    problems = refused(
        """
rules:
  - name: hot
    source: aggregates
    when: meen > 80.0
    clear: mean
    for: 30
  - source: anomalies
    when: severity >= "warning"
"""
    )
    assert problems == [
        "rules.yaml:5: rule 'hot': `when`, column 1 of 'meen > 80.0': unknown field 'meen'; did you mean 'mean'?",
        "rules.yaml:6: rule 'hot': `clear`, column 1 of 'mean': a condition is true or false, this is a double",
        "rules.yaml:7: rule 'hot': `for` is a duration like 30s, 5m, 2h or 1d, not 30",
        "rules.yaml:8: rule without a name: `name` is missing",
        "rules.yaml:9: rule without a name: `when`, column 13 of 'severity >= \"warning\"':"
        ' these have no order as text; write `severity in ["warning", "critical"]`',
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sensr": "inlet"}, "unknown key 'sensr'; did you mean 'sensor'?"),
        ({"name": "Hot Pump"}, "name 'Hot Pump' is not made of"),
        ({"name": "1"}, "`name` is text, not 1; put it in quotes"),
        ({"source": "scores"}, "source 'scores' is not one of anomalies, aggregates"),
        ({"window": "2m"}, "`window` is one of 10s, 1m, 5m, not '2m'"),
        ({"for": "1:30"}, "`for` is a duration like 30s, 5m, 2h or 1d, not 90"),
        ({"sensor": "[]"}, "`sensor` is a sensor's name or a list of them"),
        ({"severity": "bad"}, "`severity` is notice, warning, critical"),
        ({"severity": "{from: severity}"}, "an aggregate has no severity"),
        ({"labels": "{urgent: yes}"}, "`labels` are `key: text`"),
        ({"channels": "[sms]"}, "`channels` is a list of log, webhook, mqtt"),
        ({"summary": "'{meen}'"}, "`summary`: {meen} cannot be shown; there are"),
        ({"summary": "'{device.tenant}'"}, "cannot be shown"),
        ({"summary": "'{mean:d}'"}, "the format does not fit double"),
        ({"summary": "'{mean:9999999999}'"}, "formats are like .1f"),
        ({"summary": "'{mean!r}'"}, "formats are like .1f"),
        ({"summary": "'{mean'"}, "for braces"),
        ({"when": "''"}, "this is no CEL expression"),
        ({"when": "mean >"}, "column 6 of 'mean >': this is no CEL expression"),
        ({"when": "alarm_score > 0.5"}, "unknown field 'alarm_score'"),
        ({"source": "anomalies", "sensor": "x", "when": "score > 0.5"}, "`sensor` is for aggregates"),
        ({"source": "anomalies", "window": "1m", "when": "score > 0.5"}, "`window` is for aggregates"),
    ],
)
def test_a_problem_says_what_is_wrong_and_what_would_be_right(changed: dict[str, str], message: str):
    (problem,) = refused_rule(**changed)
    assert message in problem


def test_a_models_raw_output_is_no_field_of_any_source():
    named = {name for source in Source for name in rules.FIELDS[source]}
    assert named.isdisjoint({"alarm_score", "sensors", "evidence", "raw", "state", "progress"})
    assert {"score", "severity"} <= set(rules.FIELDS[Source.ANOMALIES])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{name: r, name: s}]", "rules.yaml:1: 'name' stands twice"),
        ("rules:\n  - name: r\n  when", "rules.yaml:3: this is no YAML"),
        ("- name: r", "rules.yaml:1: here `key: value` pairs are expected"),
        ("rule: []", "rules.yaml:1: a file holds one list: `rules:`"),
        ("rules: [hot]", "rules.yaml:1: here `key: value` pairs are expected"),
        ("rules: !!python/object/apply:os.system [ls]", "rules.yaml:1: "),
        ("a: 1\n---\nb: 2", "rules.yaml:2: this is no YAML"),
    ],
)
def test_a_file_that_is_no_list_of_rules_is_refused_by_its_line(text: str, message: str):
    assert any(problem.startswith(message) for problem in refused(text))


def test_two_rules_of_one_name_are_refused_also_across_files(tmp_path: Path):
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text("rules: [{name: r, source: aggregates, when: mean > 1.0}]")
    with pytest.raises(ConfigurationError, match=r"b\.yml:1: rule 'r': the name is taken by another rule"):
        rules.load(tmp_path)


def test_a_folder_without_rules_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="holds no rule"):
        rules.load(tmp_path)
    with pytest.raises(ConfigurationError, match="is no folder; WEIR_ALERTS__RULES_DIR"):
        rules.load(tmp_path / "absent")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe rules")
    with pytest.raises(ConfigurationError, match=r"a\.yaml: cannot be read"):
        rules.load(tmp_path)
