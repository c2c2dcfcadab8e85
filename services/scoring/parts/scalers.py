"""How a model's features are scaled: River's scalers, and two that learn nothing."""

from river.base import Transformer
from river.preprocessing import MinMaxScaler, StandardScaler

import services.scoring.parts.model_state  # noqa: F401  River's scalers can be stored only once it is imported
from services.scoring.parts.registry import Scaler, offer
from services.scoring.state import register_fields

Bounds = dict[str, tuple[float, float]]


class AsTheyAre(Transformer):  # type: ignore[misc]  # River is untyped here
    """Features as they are."""

    def transform_one(self, x: dict[str, float]) -> dict[str, float]:
        """`x` itself."""
        return x


class UnitScaler(Transformer):  # type: ignore[misc]  # River is untyped here
    """Each feature mapped from the bounds that it can never leave to [0, 1]."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._scales = {name: ((low + high) / 2.0, high - low) for name, (low, high) in bounds.items()}

    def transform_one(self, x: dict[str, float]) -> dict[str, float]:
        """The mapped features."""
        scales = self._scales
        scaled = {}
        for name, value in x.items():
            middle, width = scales[name]
            scaled[name] = 0.5 + (value - middle) / width
        return scaled


register_fields(AsTheyAre, "scaler.none.1")
register_fields(UnitScaler, "scaler.unit.1")


def _as_they_are(bounds: Bounds) -> AsTheyAre:  # noqa: ARG001  all scalers are built alike
    return AsTheyAre()


def _min_max(bounds: Bounds) -> MinMaxScaler:  # noqa: ARG001  all scalers are built alike
    return MinMaxScaler()


def _standard(bounds: Bounds) -> StandardScaler:  # noqa: ARG001  all scalers are built alike
    return StandardScaler()


for _part in (
    Scaler(name="none", says="as they are", build=_as_they_are),
    Scaler(name="unit", says="from the bounds of each feature to [0, 1]; learns nothing", build=UnitScaler),
    Scaler(name="min_max", says="River's MinMaxScaler: from the range seen so far to [0, 1]", build=_min_max),
    Scaler(name="standard", says="River's StandardScaler: to mean 0, variance 1", build=_standard),
):
    offer(_part)
