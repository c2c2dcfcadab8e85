"""`python -m deploy.grafana.dashboards` writes the dashboards' JSON, which is committed; a test holds them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from deploy.grafana import device, fleet, pipeline
from deploy.grafana.panels import SCHEMA_VERSION, Json

FOLDER = Path(__file__).parent / "dashboards"
WIDTH = 24
"""Grafana's grid."""


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[tuple[int, Sequence[Json]]],
    *,
    variables: Sequence[Json] = (),
    annotations: Sequence[Json] = (),
    since: str = "now-1h",
) -> Json:
    """A whole dashboard; `rows` are heights with their panels, which share the width evenly or by their `share`."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["weir"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": since, "to": "now"},
        "timezone": "browser",
        "weekStart": "",
        "links": [
            {
                "type": "dashboards",
                "title": "Weir",
                "tags": ["weir"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            }
        ],
        "templating": {"list": list(variables)},
        "annotations": {"list": list(annotations)},
        "panels": _placed(rows),
    }


def _placed(rows: Sequence[tuple[int, Sequence[Json]]]) -> list[Json]:
    placed: list[Json] = []
    top = 0
    for height, panels in rows:
        shares = [panel.get("share", 1) for panel in panels]
        left = 0
        for panel, share in zip(panels, shares, strict=True):
            width = WIDTH * share // sum(shares)
            content = {name: value for name, value in panel.items() if name != "share"}
            position = {"x": left, "y": top, "w": width, "h": height}
            placed.append({"id": len(placed) + 1, "gridPos": position} | content)
            left += width
        top += height
    return placed


def all_dashboards() -> dict[str, str]:
    """File name -> content."""
    made = [dashboard(**part.parts()) for part in (fleet, device, pipeline)]
    return {f"{d['uid']}.json": json.dumps(d, indent=2, ensure_ascii=False) + "\n" for d in made}


def write() -> None:
    """Write all, and remove what is no longer made."""
    made = all_dashboards()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write()
