"""The report as one HTML file: a table, and for each recording its signals, scores, labels and alarms as pictures."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from services.evaluation.judge import Judgement, Pass, windows_of
from services.scoring.severity import ALARM_LINE

_WIDTH = 1_000
_SIGNAL_HEIGHT = 70
_SCORE_HEIGHT = 90
_MOST_SIGNALS = 8
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}
table{border-collapse:collapse}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #d8dee4}
td:first-child,th:first-child{text-align:left}svg{display:block;width:100%;height:auto;margin:.2em 0;background:#f6f8fa}
.label{fill:#ffd33d;opacity:.45}.signal{fill:none;stroke:#0969da;stroke-width:1}.score{fill:none;stroke:#57606a}
.line{stroke:#cf222e;stroke-dasharray:4 4}.alarm{fill:#cf222e}text{font:11px system-ui,sans-serif;fill:#57606a}
"""


def to_html(title: str, judged: Sequence[tuple[str, Judgement, Sequence[Pass]]], remark: str = "") -> str:
    """The report on models, named, judged, with what they said of each recording; pictures are of the first model."""
    rows = "".join(_table_row(name, judgement, passes) for name, judgement, passes in judged)
    pictures = "".join(map(_recording, judged[0][2]))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><table><tr><th>model<th>F1<th>false alarm rate<th>missed<th>windows found"
        "<th>stray alarms<th>alarms a week<th>µs a reading<th>state</tr>"
        f"{rows}</table><p>{escape(remark)}</p>"
        "<p>Yellow: labelled. Red: alarms. Grey: score, with the alarm line at 0.5. Scored in one pass, each reading "
        f"before it is learnt.</p>{pictures}</html>"
    )


def _table_row(name: str, found: Judgement, passes: Sequence[Pass]) -> str:
    cost = sum(one.microseconds for one in passes) / len(passes)
    state = max(one.state_bytes for one in passes)
    cells = [escape(name), *figures(found), f"{cost:.0f}", f"{state / 1000:.1f} kB"]
    return f"<tr><td>{'<td>'.join(cells)}</tr>"


def figures(found: Judgement) -> list[str]:
    """F1, false alarm rate, missed, windows found, stray alarms, alarms a week; a dash for what needs labels."""
    if not found.has_labels:
        return ["–", "–", "–", "–", "–", f"{found.per_week:.2f}"]
    return [
        f"{found.f1:.3f}",
        f"{found.false_alarm_rate:.1%}",
        f"{found.missed_alarm_rate:.1%}",
        f"{found.found} of {found.windows}",
        str(found.stray),
        f"{found.per_week:.2f}",
    ]


def _recording(one: Pass) -> str:
    rows = one.series.rows
    sensors = sorted({name for row in rows for name in row.values})
    parts = [f"<h2>{escape(one.series.name)}</h2>"]
    for name in sensors[:_MOST_SIGNALS]:
        points = [(i, row.values[name]) for i, row in enumerate(rows) if name in row.values]
        parts.append(_picture(one, name, points, _SIGNAL_HEIGHT, "signal"))
    if len(sensors) > _MOST_SIGNALS:
        parts.append(f"<p>{len(sensors) - _MOST_SIGNALS} sensors more are not drawn.</p>")
    parts.append(_picture(one, "score", list(enumerate(one.scores)), _SCORE_HEIGHT, "score"))
    said = "".join(f"<li>{_time(rows[alarm.row].event_us)}: {escape(alarm.sentence)}" for alarm in one.alarms)
    parts.append(f"<ul>{said or '<li>No alarm.'}</ul>")
    return "".join(parts)


def _picture(one: Pass, name: str, points: Sequence[tuple[int, float]], height: int, kind: str) -> str:
    count = len(one.series.rows)
    across = _WIDTH / max(count - 1, 1)
    low, high = (0.0, 1.0) if kind == "score" else (min(v for _, v in points), max(v for _, v in points))
    scale = (height - 4) / (high - low) if high > low else 0.0

    def down(value: float) -> float:
        return height - 2 - (value - low) * scale

    shades = "".join(
        f'<rect class="label" x="{first * across:.1f}" y="0" width="{max((last - first + 1) * across, 1):.1f}" '
        f'height="{height}"/>'
        for first, last in windows_of(one.series)
    )
    path = " ".join(f"{i * across:.1f},{down(value):.1f}" for i, value in _thinned(points, count))
    marks = line = ""
    if kind == "score":
        line = f'<line class="line" x1="0" x2="{_WIDTH}" y1="{down(ALARM_LINE):.1f}" y2="{down(ALARM_LINE):.1f}"/>'
        marks = "".join(
            f'<circle class="alarm" cx="{alarm.row * across:.1f}" cy="{down(alarm.score):.1f}" r="3"/>'
            for alarm in one.alarms
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(name)}">{shades}'
        f'<polyline class="{kind}" points="{path}"/>{line}{marks}<text x="4" y="12">{escape(name)}</text></svg>'
    )


def _thinned(points: Sequence[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """At most two points a pixel: the lowest and the highest of each, so that no spike is lost."""
    size = max(1, count // _WIDTH)
    if size == 1:
        return list(points)
    kept: list[tuple[int, float]] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


def _time(event_us: int) -> str:
    return f"{datetime.fromtimestamp(event_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
