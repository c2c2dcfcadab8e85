"""Evaluation on recorded data: what is read, how it is judged, what the report shows."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.evaluation.judge import Alarm, Pass, interval_of_difference, judge, run, windows_of
from services.evaluation.report import to_html
from services.evaluation.series import Row, Series, read_series
from services.evaluation.spec_files import read_spec
from services.runtime.errors import ConfigurationError
from services.scoring import make_device_scorer
from services.scoring.spec import DEFAULT_SPEC, ModelSpec

WEEK_US = 7 * 86_400_000_000


def written(path: Path, rows: int = 900, fault: range = range(700, 760), seed: int = 1) -> Path:
    rng = random.Random(seed)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    lines = ["timestamp;flow;heat;note;anomaly"]
    for i in range(rows):
        away = 9.0 if i in fault else 0.0
        at = start + timedelta(seconds=i)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S};{rng.gauss(5, 1) + away:.4f};{rng.gauss(0, 1):.4f};-;{int(i in fault)}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_recording_is_read_with_its_labels_and_without_what_is_no_number(tmp_path):
    series = read_series(written(tmp_path / "pump.csv"))
    assert (series.name, len(series.rows), series.has_labels) == ("pump", 900, True)
    assert set(series.rows[0].values) == {"flow", "heat"}
    assert series.rows[0].event_us == 1_709_251_200_000_000
    assert windows_of(series) == [(700, 759)]
    assert set(read_series(tmp_path / "pump.csv", ignore=frozenset({"heat"})).rows[0].values) == {"flow"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a,b\n1,2\n", "no time"),
        ("timestamp,a\n", "no rows"),
        ("timestamp,a\nsoon,1\n", "line 2"),
        ("timestamp,a,anomaly\n1,1,maybe\n", "line 2"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_says_why(tmp_path, text, hint):
    (tmp_path / "odd.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=hint):
        read_series(tmp_path / "odd.csv")
    with pytest.raises(ConfigurationError, match=r"missing\.csv"):
        read_series(tmp_path / "missing.csv")
    with pytest.raises(ConfigurationError, match="no column 'fault'"):
        read_series(written(tmp_path / "pump.csv", 5), label="fault")


def test_scores_are_those_of_the_product(tmp_path):
    series = read_series(written(tmp_path / "pump.csv"))
    scorer = make_device_scorer()
    expected = [scorer.update(row.event_us / 1e6, row.values) for row in series.rows]
    assert run(series, DEFAULT_SPEC).scores == expected


def test_rows_and_alarms_are_judged_against_labels():
    rows = [Row(i * WEEK_US // 9, {"a": 0.0}, i in (2, 3, 6)) for i in range(10)]
    scores = [0, 0, 0.9, 0.1, 0, 0.6, 0.7, 0, 0, 0]
    alarms = [Alarm(2, 0.9, ""), Alarm(5, 0.6, "")]
    found = judge([Pass(Series("x", rows, True), scores, alarms, 1.0, 1)])
    assert found.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert (found.false_alarm_rate, found.missed_alarm_rate) == (pytest.approx(1 / 7), pytest.approx(1 / 3))
    assert (found.windows, found.found, found.stray, found.per_week) == (2, 1, 1, pytest.approx(2.0))


def test_the_interval_tells_a_difference_from_none():
    def passes(scores: list[list[float]]) -> list[Pass]:
        rows = [Row(i, {"a": 0.0}, i % 2 == 1) for i in range(20)]
        return [Pass(Series("x", rows, True), given, [], 1.0, 1) for given in scores]

    perfect = passes([[float(i % 2) for i in range(20)]] * 12)
    rng = random.Random(1)
    poor = passes([[rng.random() for _ in range(20)] for _ in range(12)])
    low, high = interval_of_difference(perfect, poor)
    assert 0.0 < low < high < 1.0
    assert interval_of_difference(poor, poor) == (0.0, 0.0)


def test_the_report_shows_labels_alarms_and_sentences_and_escapes_names(tmp_path):
    series = read_series(written(tmp_path / "pump.csv"))._replace(name="<pump>")
    passed = run(series, ModelSpec())
    page = to_html("T", [("bands", judge([passed]), [passed])])
    assert "&lt;pump&gt;" in page
    assert "<pump>" not in page
    assert 'class="label"' in page
    assert 'class="alarm"' in page
    assert "flow read" in page


def test_the_command_evaluates_and_compares_and_writes_a_report(tmp_path):
    files = [str(written(tmp_path / f"pump{i}.csv", seed=i)) for i in range(2)]
    report = tmp_path / "report.html"
    told = ["evaluate", *files, "--model", "bands", "--model", "gaussian", "--html", str(report)]
    result = CliRunner().invoke(app, told, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "2 of 2" in result.stdout
    assert "F1 of bands less that of gaussian" in result.stdout
    assert report.read_text(encoding="utf-8").count("<svg") == 6


def test_without_labels_only_what_needs_none_is_said(tmp_path):
    path = written(tmp_path / "pump.csv")
    result = CliRunner().invoke(app, ["evaluate", str(path), "--ignore", "anomaly", "--ignore", "note"])
    assert result.exit_code == 0
    unlabelled = tmp_path / "plain.csv"
    unlabelled.write_text(path.read_text(encoding="utf-8").replace("anomaly", "spare"), encoding="utf-8")
    result = CliRunner().invoke(app, ["evaluate", str(unlabelled), "--ignore", "spare", "--model", "light"])
    assert "–" in result.stdout


def test_the_command_runs_models_from_files_and_compares_them(tmp_path):
    recordings = [str(written(tmp_path / f"pump{i}.csv", seed=i)) for i in range(2)]
    (tmp_path / "trees.yaml").write_text(
        "features: [level, change]\nscaler: min_max\nmodel: {name: half_space_trees, trees: 3}\nalarms_per_week: 9\n"
    )
    (tmp_path / "season.yml").write_text("{name: holt_winters, warm_up: 60}\n")
    name, spec = read_spec(str(tmp_path / "trees.yaml"))
    assert (name, spec.name, spec.alarms_per_week) == ("trees", "half_space_trees", 9.0)
    told = ["evaluate", *recordings, "--model", str(tmp_path / "trees.yaml"), "--model", str(tmp_path / "season.yml")]
    result = CliRunner().invoke(app, told, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "F1 of trees less that of season" in result.stdout


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{name: loda, cust: 3}", r"odd.yaml: .*loda has no parameter cust; it has: cuts, bins"),
        ("- loda", r"odd.yaml: must be a mapping"),
        ("{name: [", "odd.yaml"),
        (None, "odd.yaml"),
    ],
)
def test_a_model_s_file_that_does_not_fit_is_refused_and_says_why(tmp_path, text, hint):
    if text is not None:
        (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=hint):
        read_spec(str(tmp_path / "odd.yaml"))


def test_the_command_refuses_a_model_that_nobody_knows(tmp_path):
    result = CliRunner().invoke(app, ["evaluate", str(written(tmp_path / "pump.csv")), "--model", "magic"])
    assert result.exit_code != 0
