"""What a type's devices have in common: how far a sensor's readings go from its first ones.

So that a new device of a known type can be judged before it has a normal of its own. Learnt from a type's first devices
in a partition, in the order of the log, and never changed after: the same log gives the same prior.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

TEACHES_AFTER: Final = 208
"""Learnt readings after which a sensor's reach is known."""
_TEACHERS: Final = 15
_MOST_SENSORS: Final = 256
_QUARTILE: Final = 0.75

Reaches: TypeAlias = dict[str, list[tuple[int, float]]]
"""By sensor: (log offset at which it was learnt, reach), in order of the log."""


class TypePrior:
    """The reaches of one type's sensors: of the first 15 devices that have learnt a sensor for 208 readings.

    A sensor's reach is how far it went, in its unit, from the median of its first 32 readings. What a type says is the
    upper quartile of its devices': too wide a prior is no worse than none, too narrow a one wakes somebody.

    `offset`: of the record that is being processed. What was learnt at it or later is not known yet: so a replay, with
    a prior from the end of the log, gives what the first pass gave. `has_news`: it has learnt what is not stored yet.
    """

    __slots__ = ("has_news", "offset", "reaches")

    def __init__(self, reaches: Mapping[str, list[tuple[int, float]]] | None = None) -> None:
        self.reaches: Reaches = {name: list(taught) for name, taught in (reaches or {}).items()}
        self.offset = 0
        self.has_news = False

    def reach(self, sensor: str) -> float:
        """How far readings of a sensor of this name go from its first ones; 0.0 where nobody knows."""
        known = sorted(reach for offset, reach in self.reaches.get(sensor, ()) if offset < self.offset)
        return known[int(_QUARTILE * len(known))] if known else 0.0

    def teach(self, sensor: str, reach: float) -> None:
        """A device's sensor went so far. Nothing that is known already, or comes after the first ones, is kept."""
        taught = self.reaches.get(sensor, [])
        lesson = (self.offset, reach)
        if len(taught) >= _TEACHERS or lesson in taught or (not taught and len(self.reaches) >= _MOST_SENSORS):
            return
        self.reaches[sensor] = [*taught, lesson]
        self.has_news = True
