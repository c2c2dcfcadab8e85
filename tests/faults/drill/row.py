"""A row of the drill: a fault, and how it proves that it bit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.drill.scene import Bite, Scene


@dataclass(frozen=True)
class Row:
    """`play` brings the fault about and heals it; what it returns is asked after the drain, and says how it bit."""

    name: str
    fault: str
    """In words, for the table."""
    play: Callable[[Scene], Bite]
    workload: Mapping[str, Any] = field(default_factory=dict)
    """Options of the row's `Workload`."""
    gaps_allowed: bool = False
    needs: Callable[[Any], str | None] = lambda _plant: None
    """Given the plant: why the row can't be run here, None where it can."""
