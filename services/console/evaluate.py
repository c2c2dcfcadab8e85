"""`weir evaluate`: run a model over recorded data, say how good it was, and write a report."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.evaluation.judge import Judgement, Pass, interval_of_difference, judge, run
from services.evaluation.report import figures, to_html
from services.evaluation.series import Series, read_series
from services.evaluation.spec_files import read_spec
from services.runtime.errors import ConfigurationError
from services.scoring.spec import DEFAULT_SPEC, ModelSpec

_OK = 0


def evaluate(
    files: Sequence[Path], *, models: Sequence[str], label: str | None, ignore: Sequence[str], html: Path | None
) -> int:
    """Evaluate the first of `models` on `files`, and compare the others with it; returns the exit code.

    Raises:
        ConfigurationError: A recording, a model's name or its file is not fit for it.
    """
    specs = [read_spec(told) for told in (models or [DEFAULT_SPEC.name])]
    series = [read_series(path, label=label, ignore=frozenset(ignore)) for path in files]
    judged = [_judged(name, spec, series) for name, spec in specs]
    console = Console()
    console.print(_table(judged))
    labelled = judged[0][1].has_labels
    remark = "; ".join(_comparison(judged[0], other) for other in judged[1:] if labelled)
    if remark:
        console.print(remark)
    if html is not None:
        try:
            html.write_text(to_html("Weir: evaluation", judged, remark), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"report: {error}") from None
        console.print(f"report: {html}")
    return _OK


def _judged(name: str, spec: ModelSpec, series: Sequence[Series]) -> tuple[str, Judgement, list[Pass]]:
    passes = [run(one, spec) for one in series]
    return name, judge(passes), passes


def _comparison(one: tuple[str, Judgement, list[Pass]], other: tuple[str, Judgement, list[Pass]]) -> str:
    low, high = interval_of_difference(one[2], other[2])
    difference = one[1].f1 - other[1].f1
    proof = "that is no proof of a difference" if low <= 0.0 <= high or len(one[2]) == 1 else "that is a difference"
    return (
        f"F1 of {one[0]} less that of {other[0]}: {difference:+.3f} (95 % of resampled recordings: "
        f"{low:+.3f} to {high:+.3f}; {proof})"
    )


def _table(judged: Sequence[tuple[str, Judgement, list[Pass]]]) -> Table:
    table = Table(box=None, header_style="bold")
    for title in ("model", "F1", "false", "missed", "found", "stray", "alarms/week", "µs/reading", "state B"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for name, found, passes in judged:
        table.add_row(
            name,
            *figures(found),
            f"{sum(one.microseconds for one in passes) / len(passes):.1f}",
            str(max(one.state_bytes for one in passes)),
        )
    return table
