"""What a spec may name, with which parameters, and what is built from it."""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

ENTRY_POINTS = "weir.model_parts"
"""Group of entry points: a part of another package is looked up here by its name, and loaded only when it is named."""

_BUILT_IN = ("features", "scalers", "models")


class InvalidSpec(ValueError):
    """A model was described in a way that cannot be built. The message names the field and what is allowed."""


class Parameter(NamedTuple):
    """A number that a part takes, within [low, high]; whole where `default` is an int."""

    default: float
    low: float
    high: float
    says: str

    def checked(self, value: object, where: str) -> float:
        """`value`, if it fits; raises `InvalidSpec`."""
        whole = isinstance(self.default, int)
        if isinstance(value, int if whole else (int, float)) and not isinstance(value, bool):
            number = int(value) if whole else float(value)
            if self.low <= number <= self.high:
                return number
        kind = "a whole number" if whole else "a number"
        raise InvalidSpec(f"{where}: must be {kind} in [{self.low:g}, {self.high:g}], not {value!r}")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part on offer. `build` takes the parameters by name; what it builds must have a state encoding (`state`)."""

    stage: ClassVar[str]
    name: str
    says: str
    build: Callable[..., Any]
    parameters: dict[str, Parameter] = {}


class Feature(Part, frozen=True, kw_only=True):
    """Builds a `features.Feature`. `foretold`: known before the reading, so a forecast may be made from it."""

    stage: ClassVar[str] = "feature"
    foretold: bool = False


class Scaler(Part, frozen=True, kw_only=True):
    """Builds a River transformer; `build` is also given `bounds`: the lowest and highest value of each feature."""

    stage: ClassVar[str] = "scaler"


class Model(Part, frozen=True, kw_only=True):
    """Builds a River anomaly detector or forecaster.

    `features`, `scaler`: what it is given where the spec does not say. `settling`: readings that are learnt before its
    scores mean anything; two of its parameter `season` more, where it has one. `is_share`: its score lies in [0, 1] and
    says which share of readings is more usual.
    """

    stage: ClassVar[str] = "model"
    features: tuple[Mapping[str, Any], ...] = ({"name": "level"},)
    scaler: str = "none"
    settling: int = 0
    is_share: bool = False


_Part = TypeVar("_Part", bound=Part)

_offered: dict[tuple[str, str], Part] = {}


def offer(part: Part) -> None:
    """Let specs name `part`; raises `ValueError` where another of its stage has the name."""
    if _offered.setdefault((part.stage, part.name), part) is not part:
        raise ValueError(f"there is a {part.stage} {part.name!r} already")


def offered(stage: type[_Part]) -> list[_Part]:
    """The parts of a stage that are known by now, in the order in which they were offered."""
    _load_built_in()
    return [part for part in _offered.values() if isinstance(part, stage)]


def find(stage: type[_Part], name: str, where: str) -> _Part:
    """The part of that name.

    Raises:
        InvalidSpec: There is none, neither here nor among the entry points; or its package cannot be loaded.
    """
    _load_built_in()
    found = _offered.get((stage.stage, name)) or _installed(stage, name, where)
    if not isinstance(found, stage):
        raise InvalidSpec(f"{where}: unknown {stage.stage} {name!r}; known: {', '.join(known_names(stage))}")
    return found


def known_names(stage: type[Part]) -> list[str]:
    """The names of the parts of a stage, and of those in installed packages that have not been loaded."""
    names = [part.name for part in offered(stage)]
    return names + sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} - {*names})


def _installed(stage: type[_Part], name: str, where: str) -> Part | None:
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            part = entry.load()
        except (ImportError, AttributeError) as error:
            raise InvalidSpec(f"{where}: {name!r} is {entry.value} of an installed package: {error}") from error
        if isinstance(part, stage) and part.name == name:
            offer(part)
            return part
    return None


def _load_built_in() -> None:
    for module in _BUILT_IN:
        importlib.import_module(f"{__package__}.{module}")
