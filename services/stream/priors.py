"""The priors of a partition's device types, and how they are written to the state topic: under a key of their own.

A change is written before the states of the devices that made it, so a replay never finds a device that has taught and
a prior that has not learnt; what a prior learnt later in the log it does not tell (see `TypePrior`).
"""

from typing import Final

import msgspec

from services.scoring.prior import TypePrior
from services.stream.device import UnreadableSnapshot
from services.stream.device_table import StateChange

PRIORS_KEY: Final = b"$priors|"
"""No device's, as those have no `$` and no `|`."""
_VERSION: Final = 1
_LEAD: Final = 8


class _Stored(msgspec.Struct, array_like=True):
    version: int
    types: dict[str, dict[str, list[tuple[int, float]]]]


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


class PartitionPriors:
    """By name of a device type: what its devices in this partition have in common.

    Raises:
        UnreadableSnapshot: `stored` was written by a Weir that this one does not know.
    """

    def __init__(self, stored: bytes | None = None, *, is_stale: bool = False) -> None:
        self._changed = is_stale
        self._types: dict[str, TypePrior] = {}
        if stored is None:
            return
        try:
            known = _decode(stored[_LEAD:])
        except ValueError as error:
            raise UnreadableSnapshot(f"priors of the device types: {error}") from None
        if known.version != _VERSION:
            raise UnreadableSnapshot(f"priors of the device types: version {known.version}; this Weir reads {_VERSION}")
        self._types = {name: TypePrior(reaches) for name, reaches in known.types.items()}

    def of(self, kind: str, offset: int) -> TypePrior:
        """The prior of a type, as it is for the record at `offset`."""
        prior = self._types.get(kind)
        if prior is None:
            prior = self._types[kind] = TypePrior()
        prior.offset = offset
        return prior

    def take_change(self) -> list[StateChange]:
        """The priors as one record, if they have changed since the last call."""
        if not self._changed and not any(prior.has_news for prior in self._types.values()):
            return []
        self._changed = False
        latest = -1
        types: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for name, prior in self._types.items():
            prior.has_news = False
            if prior.reaches:
                types[name] = prior.reaches
                latest = max(latest, *(taught[-1][0] for taught in prior.reaches.values()))
        return [StateChange(PRIORS_KEY, latest.to_bytes(_LEAD, "big", signed=True) + _encode(_Stored(_VERSION, types)))]
