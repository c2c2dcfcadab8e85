"""A pipeline `features | scaler | model`: read from what an operator wrote, checked, and built."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from river.base import AnomalyDetector, SupervisedAnomalyDetector
from river.time_series.base import Forecaster

from services.scoring.parts.features import Feature
from services.scoring.parts.registry import Feature as FeaturePart
from services.scoring.parts.registry import InvalidSpec, Model, Part, Scaler, find
from services.scoring.parts.scalers import AsTheyAre
from services.scoring.state import ModelNotRegistered, State, require_registered

_MOST_FEATURES = 16

_Part = TypeVar("_Part", bound=Part)


class PartSpec(msgspec.Struct, frozen=True):
    """A part by its name, with all of its parameters."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()

    def build(self, part: Part, **more: Any) -> Any:
        """A new one."""
        return part.build(**dict(self.parameters), **more)


class PipelineSpec(msgspec.Struct, frozen=True):
    """A pipeline's description; `parse` makes it, so it can always be built."""

    features: tuple[PartSpec, ...]
    scaler: PartSpec
    model: PartSpec

    @classmethod
    def parse(cls, model: object, features: object = None, scaler: object = None) -> "PipelineSpec":
        """Read the three parts: each a name, or a mapping of `name` and parameters; `features` is a list of them.

        Features and scaler that are left out are those that go with the model.

        Raises:
            InvalidSpec: A name or parameter is unknown, or they do not go together; says where, and what is allowed.
        """
        model_part, model_spec = _parse(Model, model, "model.model")
        listed = model_part.features if features is None else features
        if not isinstance(listed, Sequence) or isinstance(listed, str) or not 1 <= len(listed) <= _MOST_FEATURES:
            raise InvalidSpec(f"model.features: must be a list of 1 to {_MOST_FEATURES} features")
        parsed = [_parse(FeaturePart, entry, f"model.features[{place}]") for place, entry in enumerate(listed)]
        _, scaler_spec = _parse(Scaler, model_part.scaler if scaler is None else scaler, "model.scaler")
        spec = cls(tuple(feature for _, feature in parsed), scaler_spec, model_spec)
        _check(spec.build(), [part for part, _ in parsed])
        return spec

    def build(self) -> "Pipeline":
        """A new pipeline, which has learnt nothing."""
        features = [feature.build(find(FeaturePart, feature.name, "model.features")) for feature in self.features]
        bounds: dict[str, tuple[float, float]] = {}
        for feature in features:
            if twice := sorted(bounds.keys() & feature.bounds.keys()):
                raise InvalidSpec(f"model.features: {', '.join(twice)} twice")
            bounds |= feature.bounds
        part = find(Model, self.model.name, "model.model")
        model = self.build_model()
        scaler = self.scaler.build(find(Scaler, self.scaler.name, "model.scaler"), bounds=bounds)
        settling = part.settling + 2 * int(dict(self.model.parameters).get("season", 0))
        return Pipeline(features, bounds, scaler, model, settling, part.is_share)

    def build_model(self) -> Any:
        """The model alone, which has learnt nothing."""
        try:
            return self.model.build(find(Model, self.model.name, "model.model"))
        except ValueError as error:
            raise InvalidSpec(f"model.model: {self.model.name}: {error}") from error

    def fingerprint(self) -> list[State]:
        """All of it, as a state can carry it."""
        parts = (*self.features, self.scaler, self.model)
        return [[part.name, *map(list, part.parameters)] for part in parts]


class Pipeline(NamedTuple):
    """What was built; see `Part`, `Model`, and `Feature.bounds`. `scaler` and `model` are River's, or like River's."""

    features: list[Feature]
    bounds: dict[str, tuple[float, float]]
    scaler: Any
    model: Any
    settling: int
    is_share: bool


def _parse(stage: type[_Part], written: object, where: str) -> tuple[_Part, PartSpec]:
    given: dict[str, object]
    match written:
        case str(name):
            given = {}
        case {"name": str(name), **rest}:
            given = {str(key): value for key, value in rest.items()}
        case _:
            raise InvalidSpec(f"{where}: must be a {stage.stage}'s name, or a mapping with `name` and its parameters")
    part = find(stage, name, where)
    if strange := sorted(given.keys() - part.parameters.keys()):
        known = ", ".join(part.parameters) or "none"
        raise InvalidSpec(f"{where}: {name} has no parameter {', '.join(strange)}; it has: {known}")
    parameters = tuple(
        (key, parameter.checked(given.get(key, parameter.default), f"{where}.{key}"))
        for key, parameter in part.parameters.items()
    )
    return part, PartSpec(name, parameters)


def _check(pipeline: Pipeline, features: Sequence[FeaturePart]) -> None:
    model = pipeline.model
    name = type(model).__name__
    if not isinstance(model, (AnomalyDetector, SupervisedAnomalyDetector, Forecaster)):
        raise InvalidSpec(f"model.model: a {name} is no anomaly detector and no forecaster of River's")
    try:
        for built in (*pipeline.features, pipeline.scaler, model):
            require_registered(built)
    except ModelNotRegistered as error:
        raise InvalidSpec(f"model: {error}") from error
    if isinstance(model, SupervisedAnomalyDetector) and len(pipeline.bounds) > 1:
        raise InvalidSpec(f"model.features: {name} takes one number, not {', '.join(pipeline.bounds)}")
    if isinstance(model, Forecaster):
        if not isinstance(pipeline.scaler, AsTheyAre):
            raise InvalidSpec(f"model.scaler: {name} forecasts the level as it is; leave the scaler out")
        if features[0].name != "level":
            raise InvalidSpec(f"model.features[0]: {name} forecasts `level`, not {features[0].name}")
        for place, feature in enumerate(features[1:], start=1):
            if not feature.foretold:
                what = f"{feature.name} holds the reading that {name} is to forecast"
                raise InvalidSpec(f"model.features[{place}]: {what}; leave it out")
