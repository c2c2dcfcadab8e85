"""Which detector a device gets, and with which parameters: what a device type's `model` says."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from services.scoring.parts.pipeline import PipelineSpec
from services.scoring.parts.registry import InvalidSpec, Model, known_names, offered
from services.scoring.state import State

__all__ = ["DEFAULT_SPEC", "MODELS", "InvalidSpec", "ModelSpec"]

BUILT_IN = ("bands", "light")
MODELS = (*BUILT_IN, *(model.name for model in offered(Model)))
"""Known names: see `ModelSpec.name`."""

_PARTS = ("features", "scaler", "model")
_SHARED = ("alarms_per_week", "warm_up", "max_sensors")


class ModelSpec(msgspec.Struct, frozen=True):
    """A detector's description. Every duration is time, in hours; nothing is a number of readings but `warm_up`.

    `name`: `bands` (forgetting ranges of level, spread, time of day, sequence and runs, and River's GaussianScorer, and
    the sensors together; the default), `light` (level and runs alone, for a third of the time and memory), or that of a
    River model (`parts/models.py`), which stands beside the level.
    `alarms_per_week`: the false-alarm budget of one device.
    `warm_up`: readings of a sensor that are learnt before it may alarm.
    `max_sensors`: sensors of one device that are scored; later ones are left out.
    `pipeline`: of a River model: its features, scaler and parameters; None where `name` is built in.
    """

    name: str = "bands"
    alarms_per_week: float = 1.0
    warm_up: int = 100
    max_sensors: int = 64
    pipeline: PipelineSpec | None = None

    def __post_init__(self) -> None:
        if self.name not in BUILT_IN and self.pipeline is None:
            msgspec.structs.force_setattr(self, "pipeline", _named(self.name, {}))
        if not 0.001 <= self.alarms_per_week <= 10_000:
            raise InvalidSpec(f"alarms_per_week must lie in [0.001, 10000], not {self.alarms_per_week}")
        if not 40 <= self.warm_up <= 100_000:
            raise InvalidSpec(f"warm_up must lie in [40, 100000] readings, not {self.warm_up}")
        if not 1 <= self.max_sensors <= 10_000:
            raise InvalidSpec(f"max_sensors must lie in [1, 10000], not {self.max_sensors}")

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "ModelSpec":
        """The spec that a configuration file describes; raises `InvalidSpec`.

        A known name with its parameters (`{name: half_space_trees, trees: 5}`), or parts (`{features: [level, change],
        scaler: unit, model: {name: half_space_trees, trees: 5}}`); beside either, `alarms_per_week` and its like.
        """
        shared = {key: value for key, value in mapping.items() if key in _SHARED}
        parts = {key: value for key, value in mapping.items() if key in _PARTS}
        rest = {str(key): value for key, value in mapping.items() if key not in {*_SHARED, *_PARTS}}
        try:
            spec = msgspec.convert(shared, cls)
        except msgspec.ValidationError as error:
            raise InvalidSpec(f"model: {error}") from error
        if "model" in parts:
            if rest:
                raise InvalidSpec(f"model: {_listed(rest)} beside `model`; known: {_listed((*_PARTS, *_SHARED))}")
            pipeline = PipelineSpec.parse(**parts)
            return msgspec.structs.replace(spec, name=pipeline.model.name, pipeline=pipeline)
        name = rest.pop("name", BUILT_IN[0])
        if name in BUILT_IN:
            if strange := sorted((*parts, *rest)):
                raise InvalidSpec(f"model: {name} has no {_listed(strange)}; it has: {_listed(('name', *_SHARED))}")
            return msgspec.structs.replace(spec, name=name)
        return msgspec.structs.replace(spec, name=name, pipeline=_named(name, rest, **parts))

    def fingerprint(self) -> list[State]:
        """All of it, as a state can carry it: what another spec has learnt is of no use to this one."""
        parts = [] if self.pipeline is None else self.pipeline.fingerprint()
        return [self.name, self.alarms_per_week, self.warm_up, self.max_sensors, *parts]


def _named(name: object, parameters: Mapping[str, Any], **parts: Any) -> PipelineSpec:
    if name not in MODELS and name not in known_names(Model):
        raise InvalidSpec(f"model.name: unknown model {name!r}; known: {_listed((*BUILT_IN, *known_names(Model)))}")
    return PipelineSpec.parse({"name": name, **parameters}, **parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


DEFAULT_SPEC = ModelSpec()
