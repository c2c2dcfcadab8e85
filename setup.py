"""Compiles Weir's hot core with mypyc while it is installed: docs/decisions/0009-the-hot-core-is-compiled.md.

Without a C compiler, or with WEIR_PURE=1, the same files run as plain Python: an installation never fails over this.
`python setup.py build_ext --inplace` compiles in a working copy, where anything has changed since the last time.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED = (
    # What is done for each reading, and gains by it. What has a class with keywords (a Struct with `array_like=True`)
    # cannot be compiled: mypyc forgets them.
    "services.scoring.band",
    "services.scoring.calibration",
    "services.scoring.centre",
    "services.scoring.covariance",
    "services.scoring.device",
    "services.scoring.guard",
    "services.scoring.hotelling",
    "services.scoring.joint",
    "services.scoring.joint_state",
    "services.scoring.kernel",
    "services.scoring.lagged",
    "services.scoring.largest",
    "services.scoring.pace",
    "services.scoring.regime",
    "services.scoring.rolling",
    "services.scoring.sensor",
    "services.scoring.state",
    "services.scoring.views.day",
    "services.scoring.views.level",
    "services.scoring.views.pipeline",
    "services.scoring.views.river",
    "services.scoring.views.run",
    "services.scoring.views.sequence",
    "services.scoring.views.spread",
    "services.scoring.views.view",
    "services.stream.open_page",
    "services.stream.packed_numbers",
    "services.stream.pages",
    "services.stream.quantiles",
    "services.stream.rows",
    "services.stream.window",
    "services.stream.windows",
)
GROUP = "services.core"
LIBRARY = f"{GROUP}__mypyc"
"""The one library that holds all of them; beside each source lies a small file that leads to it."""
BUILT_FROM = Path("services/core.json")
"""What the compiled core was made of; `services.runtime.core` compares it with the sources."""
FLAGS = [
    "-g0",
    "-Wno-error",  # mypyc asks for -Werror, with which a newer compiler's new warning would end the build
    "-ffp-contract=off",  # a fused multiply-add, which aarch64 has, would round otherwise than the interpreter does
]
# Types alone are looked at here, and the same wherever it is built; `make lint` finds what is wrong with them.
MYPY = """[mypy]
follow_imports = silent
ignore_missing_imports = true
[mypy-numpy.*,river.*]
follow_imports = skip
"""


class BuildCore(build_ext):
    """`build_ext`, which falls back to plain Python, and runs mypyc only when something is really built."""

    def run(self) -> None:
        """Compile, unless plain Python is asked for; or say in one line why not."""
        if pure:
            return
        roots = [Path(self.build_lib), *([Path()] if self.inplace else [])]
        made_by = hashlib.sha256(Path("setup.py").read_bytes()).hexdigest()
        wanted = {"mypy": version("mypy"), "made_by": made_by, "sources": _digests()}
        if self.inplace and _is_current(wanted):
            return
        for root in roots:
            _remove_built(root)
        try:
            self._compile()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, Weir runs without it
            reason = (
                "mypyc refuses it, see above" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
            )
            for root in roots:
                _remove_built(root)
            self.extensions = self.distribution.ext_modules = []
            print(
                f"weir: the core stays interpreted (same results, slower): it cannot be compiled: {reason}",
                file=sys.stderr,
            )
            return
        for root in roots[-1:]:
            (root / BUILT_FROM).write_text(json.dumps(wanted, indent=1) + "\n")

    def _compile(self) -> None:
        from mypyc.build import mypycify  # noqa: PLC0415 - takes a while, and most commands build nothing

        config = Path(self.build_temp, "mypy.ini")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(MYPY)
        paths = [str(_path_of(module)) for module in COMPILED]
        extensions = mypycify(
            [f"--config-file={config}", *paths],
            opt_level="3",
            debug_level="0",
            group_name=GROUP,
            target_dir=self.build_temp,
        )
        for extension in extensions:
            extension.extra_compile_args = [*extension.extra_compile_args, *FLAGS]
        self.distribution.ext_modules = extensions
        self.swig_opts = None  # as before the first time: `finalize_options` splits it
        self.finalize_options()
        super().run()


def _digests() -> dict[str, str]:
    """File -> SHA-256: the compiled modules, and those they import, whose types and constants are built in."""
    found: dict[str, str] = {}
    waiting = list(COMPILED)
    while waiting:
        path = _path_of(waiting.pop())
        if not path.is_file() or str(path) in found:
            continue
        source = path.read_bytes()
        found[path.as_posix()] = hashlib.sha256(source).hexdigest()
        waiting += _imported_by(ast.parse(source))
    return dict(sorted(found.items()))


def _imported_by(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _path_of(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_current(wanted: object) -> bool:
    if not BUILT_FROM.is_file() or json.loads(BUILT_FROM.read_text()) != wanted:
        return False
    return all(
        list(_path_of(module).parent.glob(f"{module.rpartition('.')[2]}.cpython-*")) for module in (*COMPILED, LIBRARY)
    )


def _remove_built(root: Path) -> None:
    (root / BUILT_FROM).unlink(missing_ok=True)
    for library in [*(root / "services").rglob("*.so"), *(root / "services").rglob("*.pyd")]:
        library.unlink()


pure = bool(os.environ.get("WEIR_PURE"))
if pure:
    _remove_built(Path())
setup(
    cmdclass={"build_ext": BuildCore},
    # Named here so that the wheel is known to hold compiled code; `BuildCore` says of what it is made.
    ext_modules=[] if pure else [Extension(LIBRARY, [])],
)
