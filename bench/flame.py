"""A flame graph as SVG from stacks: no script in it, each box with its function, samples and share as a title."""

from html import escape
from pathlib import Path
from typing import Final
from zlib import crc32

_WIDTH: Final = 1200
_ROW: Final = 16
_LEAST: Final = 1.5
"""Narrower boxes (in px) are left out."""


class _Frame:
    __slots__ = ("callees", "count")

    def __init__(self) -> None:
        self.count = 0
        self.callees: dict[str, _Frame] = {}


def draw(stacks: list[tuple[list[str], int]], path: Path, title: str) -> None:
    """Write the graph; callers below, callees above, boxes side by side in the order of their names."""
    path.write_text(render(stacks, title), encoding="utf-8")


def render(stacks: list[tuple[list[str], int]], title: str) -> str:
    """The graph."""
    root = _Frame()
    for stack, count in stacks:
        frame = root
        frame.count += count
        for name in stack:
            frame = frame.callees.setdefault(name, _Frame())
            frame.count += count
    boxes: list[str] = []
    depth = _boxes(root, 0.0, 0, root.count or 1, boxes)
    height = (depth + 3) * _ROW
    placed = "\n".join(boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="monospace"'
        f' font-size="11"><rect width="100%" height="100%" fill="#ffffff"/><text x="4" y="14">{escape(title)},'
        f' {root.count} samples</text><g transform="translate(0 {height - 2 * _ROW})">\n{placed}\n</g></svg>\n'
    )


def _boxes(frame: _Frame, left: float, depth: int, total: int, boxes: list[str]) -> int:
    deepest = depth
    for name, callee in sorted(frame.callees.items()):
        width = callee.count / total * _WIDTH
        if width >= _LEAST:
            boxes.append(_box(name, callee.count, left, width, depth, total))
            deepest = max(deepest, _boxes(callee, left, depth + 1, total, boxes))
        left += width
    return deepest


def _box(name: str, count: int, left: float, width: float, depth: int, total: int) -> str:
    shade = crc32(name.encode()) % 60
    letters = int(width / 6.8)
    text = escape(name if len(name) <= letters else name[: letters - 1] + "…") if letters > 3 else ""
    top = -depth * _ROW
    return (
        f'<g><title>{escape(name)}: {count} samples, {count / total:.1%}</title><rect x="{left:.1f}" y="{top}"'
        f' width="{width:.1f}" height="{_ROW - 1}" fill="rgb(240,{130 + shade},{70 + shade})"/>'
        + (f'<text x="{left + 2:.1f}" y="{top + 11}">{text}</text>' if text else "")
        + "</g>"
    )
