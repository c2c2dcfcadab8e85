"""What the devices of a type are together, in one partition: followed for drift, and written to the state topic.

One record for each sensor of a tenant's device type. A change is written before the states of the devices that made
it; so after a crash a device may teach again what its population knows already (its offset says so, and it is passed
over), and none has taught what its population has not learnt.
"""

from typing import Final, TypeAlias

import msgspec

from schemas.model_event import Step
from services.scoring.drift.population import Population, Shift
from services.stream.device import UnreadableSnapshot, applied_of
from services.stream.device_table import Restored, StateChange

POPULATION_KEY: Final = b"$population|"
"""Begins the keys on the state topic; no device's, as those have no `$` and no `|`."""
MOST_POPULATIONS: Final = 256
"""Of a partition; with a week of references each holds 20 kB. Later ones are not followed."""
Name: TypeAlias = tuple[str, str, str]
"""Tenant, device type, sensor."""
_VERSION: Final = 1
_LEAD: Final = 8
_STEPS: Final = {1: Step.WATCH, 2: Step.RE_BASELINE}


class _Stored(msgspec.Struct, array_like=True):
    version: int
    name: Name
    population: Population


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


class _Followed:
    """`known`: offset up to which it was restored; `applied`: of the last record that taught it."""

    __slots__ = ("applied", "known", "population")

    def __init__(self, population: Population, known: int = -1) -> None:
        self.population = population
        self.known = self.applied = known


class Populations:
    """See the module.

    Raises:
        UnreadableSnapshot: What is restored was written by a Weir that this one does not know.
    """

    def __init__(self, restored: Restored) -> None:
        self._followed: dict[Name, _Followed] = {}
        self._changed: set[Name] = set()
        for key, value in restored.values.items():
            stored = _read(key, value)
            self._followed[stored.name] = _Followed(stored.population, applied_of(value))
            if key in restored.stale:
                self._changed.add(stored.name)

    def take(self, offset: int, name: Name, hour: int, mean: float) -> Shift | None:
        """Take a device's mean of an hour that the record at `offset` ended."""
        followed = self._followed.get(name)
        if followed is None:
            if len(self._followed) >= MOST_POPULATIONS:
                return None
            followed = self._followed[name] = _Followed(Population())
        if offset <= followed.known:
            return None
        followed.applied = offset
        self._changed.add(name)
        return followed.population.take(hour, mean)

    @property
    def drifting(self) -> dict[str, int]:
        """How many are followed at each advised step."""
        levels = [followed.population.level for followed in self._followed.values()]
        return {step: levels.count(level) for level, step in _STEPS.items()}

    def take_changes(self) -> list[StateChange]:
        """The populations that have changed since the last call, as records."""
        changes = []
        for name in sorted(self._changed):
            followed = self._followed[name]
            lead = followed.applied.to_bytes(_LEAD, "big", signed=True)
            value = lead + _encode(_Stored(_VERSION, name, followed.population))
            changes.append(StateChange(POPULATION_KEY + "|".join(name).encode(), value))
        self._changed.clear()
        return changes


def _read(key: bytes, value: bytes) -> _Stored:
    try:
        stored = _decode(value[_LEAD:])
    except ValueError as error:
        raise UnreadableSnapshot(f"state of {key!r}: {error}") from None
    if stored.version != _VERSION:
        raise UnreadableSnapshot(f"state of {key!r} has version {stored.version}; this Weir reads version {_VERSION}")
    return stored
