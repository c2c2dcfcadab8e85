"""Device types: what a device is, so that its readings can be judged. Read once, at start, from `device_types.yaml`.

```yaml
types:
  pump-x:
    sensors:
      temperature: {unit: °C, low: -40, high: 150, max_rate_per_s: 10}
      running: {boolean: true}
    model: {name: bands, alarms_per_week: 1}      # or a River pipeline: see services/scoring/spec.py
assign:                       # first match wins; the rest is `generic`
  - {pattern: "acme/pump-*", type: pump-x}
```
"""

import fnmatch
import math
from pathlib import Path
from typing import Final

import msgspec
import yaml

from services.runtime import yaml_text
from services.runtime.errors import ConfigurationError
from services.scoring.spec import DEFAULT_SPEC, ModelSpec

GENERIC: Final = "generic"


class SensorType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sensor of this type may say; `low`, `high` in its unit, `max_rate_per_s` in units a second."""

    unit: str = ""
    low: float | None = None
    high: float | None = None
    max_rate_per_s: float | None = None
    boolean: bool = False

    def __post_init__(self) -> None:
        """Refuse a range that no value is in."""
        for name in ("low", "high", "max_rate_per_s"):
            if not math.isfinite(getattr(self, name) or 0.0):
                raise ValueError(f"{name} is no finite number; leave it out where there is no limit")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if self.max_rate_per_s is not None and self.max_rate_per_s < 0:
            raise ValueError("max_rate_per_s is negative")


class DeviceType(msgspec.Struct, frozen=True):
    """A kind of device. `accept_late`: store readings that come after the correction horizon."""

    name: str = GENERIC
    sensors: dict[str, SensorType] = {}
    accept_late: bool = True
    model: ModelSpec = DEFAULT_SPEC


class _TypeFile(msgspec.Struct, forbid_unknown_fields=True):
    sensors: dict[str, SensorType] = {}
    accept_late: bool = True
    model: dict[str, object] | None = None


class _Assignment(msgspec.Struct, forbid_unknown_fields=True):
    pattern: str
    type: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    types: dict[str, object] = {}
    assign: list[_Assignment] = []


class DeviceTypes:
    """Finds a device's type by its key `tenant/device`."""

    def __init__(self, types: dict[str, DeviceType], assign: list[tuple[str, str]]) -> None:
        self._types = {GENERIC: DeviceType()} | types
        self._assign = assign

    def of(self, key: str) -> DeviceType:
        """The type of the device with this key."""
        for pattern, name in self._assign:
            if fnmatch.fnmatchcase(key, pattern):
                return self._types[name]
        return self._types[GENERIC]


def load_device_types(path: Path | None) -> DeviceTypes:
    """Read device types.

    Raises:
        ConfigurationError: The file cannot be read or does not fit; says where.
    """
    if path is None:
        return DeviceTypes({}, [])
    try:
        file = msgspec.convert(yaml_text.load(path.read_text(encoding="utf-8")) or {}, _File)
        types = {name: _type(name, entry) for name, entry in file.types.items()}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"device types in {path}: {error}") from None
    known = types.keys() | {GENERIC}
    if strange := sorted({a.type for a in file.assign} - known):
        raise ConfigurationError(f"device types in {path}: unknown types {strange} in `assign`; known: {sorted(known)}")
    return DeviceTypes(types, [(a.pattern, a.type) for a in file.assign])


def _type(name: str, written: object) -> DeviceType:
    try:
        entry = msgspec.convert(written, _TypeFile)
        model = DEFAULT_SPEC if entry.model is None else ModelSpec.parse(entry.model)
    except ValueError as error:
        raise ValueError(f"type {name}: {error}") from error
    return DeviceType(name=name, sensors=entry.sensors, accept_late=entry.accept_late, model=model)
