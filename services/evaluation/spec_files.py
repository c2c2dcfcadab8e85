"""Models to evaluate: a name, or a YAML file that holds what a device type's `model` would."""

from pathlib import Path
from typing import Final

import yaml

from services.runtime import yaml_text
from services.runtime.errors import ConfigurationError
from services.scoring.spec import InvalidSpec, ModelSpec

_ENDINGS: Final = (".yaml", ".yml")


def read_spec(told: str) -> tuple[str, ModelSpec]:
    """What to call it, and the spec.

    Raises:
        ConfigurationError: The file cannot be read, or it or the name is no model; says what is allowed.
    """
    path = Path(told)
    if path.suffix not in _ENDINGS:
        try:
            return told, ModelSpec(name=told)
        except InvalidSpec as error:
            raise ConfigurationError(f"{error}; or a file ({', '.join(_ENDINGS)})") from None
    try:
        described = yaml_text.load(path.read_text(encoding="utf-8"))
        if not isinstance(described, dict):
            raise InvalidSpec("must be a mapping, as under `model` in device_types.yaml")
        return path.stem, ModelSpec.parse(described)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
