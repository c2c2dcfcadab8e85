"""Which detector a device gets, and with which parameters: what a device type's `model` says."""

from collections.abc import Mapping
from typing import Any

import msgspec

MODELS = ("bands", "light", "gaussian", "half_space_trees")
"""Known names: see `ModelSpec.name`."""


class InvalidSpec(ValueError):
    """A model was described in a way that cannot be built. The message names the field and what is allowed."""


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A detector's description. Every duration is time, in hours; nothing is a number of readings but `warm_up`.

    `name`: `bands` (forgetting ranges of level, spread, time of day, sequence and runs, and River's GaussianScorer, and
    the sensors together; the default), `light` (level and runs alone, for a third of the time and memory),
    `gaussian` (River's GaussianScorer and the level) or `half_space_trees` (River's HalfSpaceTrees).
    `alarms_per_week`: the false-alarm budget of one device.
    `warm_up`: readings of a sensor that are learnt before it may alarm.
    `max_sensors`: sensors of one device that are scored; later ones are left out.
    `trees`, `height`, `window` (readings): of HalfSpaceTrees.
    """

    name: str = "bands"
    alarms_per_week: float = 1.0
    warm_up: int = 100
    max_sensors: int = 64
    trees: int = 5
    height: int = 4
    window: int = 100

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise InvalidSpec(f"unknown model {self.name!r}; known: {', '.join(MODELS)}")
        if not 0.001 <= self.alarms_per_week <= 10_000:
            raise InvalidSpec(f"alarms_per_week must lie in [0.001, 10000], not {self.alarms_per_week}")
        if not 40 <= self.warm_up <= 100_000:
            raise InvalidSpec(f"warm_up must lie in [40, 100000] readings, not {self.warm_up}")
        if not 1 <= self.max_sensors <= 10_000:
            raise InvalidSpec(f"max_sensors must lie in [1, 10000], not {self.max_sensors}")

        if not (1 <= self.trees <= 100 and 1 <= self.height <= 12 and 10 <= self.window <= 65_000):
            raise InvalidSpec("trees must lie in [1, 100], height in [1, 12], window in [10, 65000]")

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "ModelSpec":
        """The spec that a configuration file describes; raises `InvalidSpec`."""
        try:
            return msgspec.convert(dict(mapping), cls)
        except msgspec.ValidationError as error:
            raise InvalidSpec(f"model: {error}") from error


DEFAULT_SPEC = ModelSpec()
