"""Whether the hot core runs compiled, and whether what was compiled is what its sources say now.

`setup.py` compiles it and leaves beside it what it was made of. Python takes a compiled module before the source of the
same name, so that without this check a source could be changed to no effect.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

import services
from services.runtime.errors import ConfigurationError

_FOLDER: Final = Path(services.__file__).parent
_LIBRARY: Final = "core__mypyc.*"
_BUILT_FROM: Final = "core.json"
_REBUILD: Final = "run `make setup`, or `python setup.py build_ext --inplace` (with WEIR_PURE=1: back to plain Python)"


class StaleCore(ConfigurationError):
    """The compiled core was made of other sources than those beside it."""


def kind(folder: Path = _FOLDER) -> str:
    """`compiled`, or `interpreted`: the same results for more CPU time. `folder` holds the package `services`."""
    return "compiled" if any(folder.glob(_LIBRARY)) else "interpreted"


def require_current(folder: Path = _FOLDER) -> None:
    """Make sure that the compiled core, where there is one, is that of the sources.

    Raises:
        StaleCore: It is not; names the first source that differs, and how to compile it.
    """
    if kind(folder) == "interpreted":
        return
    try:
        built_from: dict[str, str] = json.loads((folder / _BUILT_FROM).read_bytes())["sources"]
    except FileNotFoundError:
        raise StaleCore(f"the hot core was not compiled to its end; {_REBUILD}") from None
    for name, digest in built_from.items():
        source = folder.parent / name
        if not source.is_file() or hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise StaleCore(f"the hot core was compiled from another {name} than there is now; {_REBUILD}")
