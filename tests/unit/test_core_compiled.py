"""The hot core compiled and as plain Python: the same bytes. One that is not compiled, or not of its sources, shows."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from services.runtime import core

ROOT = Path(__file__).parents[2]
WORK = Path(__file__).parent / "core_work.py"


def outcomes(*which: str) -> list[list[str]]:
    """What `core_work` makes of its work, one digest a line, with each core: `compiled`, `interpreted`."""
    runs = [
        subprocess.Popen(
            [sys.executable, WORK, core_of_run],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for core_of_run in which
    ]
    told = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), [errors for _, errors in told]
    return [said.splitlines() for said, _ in told]


def has_compiler() -> bool:
    """Whether there is the compiler that `setup.py` would take."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(command.split()[0]) is not None


@pytest.mark.skipif(bool(os.environ.get("WEIR_PURE")), reason="WEIR_PURE=1 asks for plain Python")
@pytest.mark.skipif(not has_compiler(), reason="there is no C compiler here: users have plain Python as well")
def test_where_there_is_a_c_compiler_what_is_tested_is_compiled():
    # An installation falls back to plain Python without failing, so that nothing else would tell of it.
    assert core.kind() == "compiled", "`python setup.py build_ext --inplace` says why not; or set WEIR_PURE=1"


@pytest.mark.skipif(
    core.kind() == "interpreted", reason="there is no compiled core here: no C compiler, or WEIR_PURE=1"
)
def test_the_compiled_core_gives_the_same_bytes_as_the_interpreted_one():
    compiled, interpreted = outcomes("compiled", "interpreted")
    assert len(compiled) > 10
    assert compiled == interpreted


def test_asked_for_plain_python_the_set_up_compiles_nothing_and_removes_what_was_compiled(tmp_path):
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "services" / "scoring").mkdir(parents=True)
    left = [tmp_path / "services" / "core.json", tmp_path / "services" / "scoring" / "band.cpython-311.so"]
    for file in left:
        file.touch()
    run = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "WEIR_PURE": "1"},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert not [file for file in left if file.exists()]


@pytest.fixture
def built(tmp_path):
    """A core that was compiled from what stands beside it."""
    folder = tmp_path / "services"
    folder.mkdir()
    (folder / "band.py").write_text("WIDTH = 1\n")
    (folder / "core__mypyc.cpython-311-x86_64-linux-gnu.so").touch()
    digests = {"services/band.py": hashlib.sha256(b"WIDTH = 1\n").hexdigest()}
    (folder / "core.json").write_text(json.dumps({"sources": digests}))
    return folder


def test_a_compiled_core_of_the_sources_as_they_are_may_run(built):
    core.require_current(built)
    assert core.kind(built) == "compiled"


def test_a_source_that_has_changed_since_is_named(built):
    (built / "band.py").write_text("WIDTH = 2\n")
    with pytest.raises(core.StaleCore, match=r"services/band\.py.*make setup"):
        core.require_current(built)


def test_a_source_that_is_gone_is_named(built):
    (built / "band.py").unlink()
    with pytest.raises(core.StaleCore, match=r"services/band\.py"):
        core.require_current(built)


def test_a_core_that_was_not_compiled_to_its_end_may_not_run(built):
    (built / "core.json").unlink()
    with pytest.raises(core.StaleCore, match="not compiled to its end"):
        core.require_current(built)


def test_without_a_compiled_core_sources_may_change(built):
    next(built.glob("*.so")).unlink()
    (built / "band.py").write_text("WIDTH = 2\n")
    core.require_current(built)
    assert core.kind(built) == "interpreted"


def compiled_modules() -> list[Path]:
    """The sources of the modules that `setup.py` lists."""
    listed = (ROOT / "setup.py").read_text().partition("COMPILED = (")[2].partition("\n)")[0]
    names = [line.strip().strip('",') for line in listed.splitlines() if line.strip().startswith('"')]
    assert len(names) > 10
    return [ROOT / Path(*name.split(".")).with_suffix(".py") for name in names]


def test_no_compiled_module_has_a_class_with_keywords_or_decorators():
    # mypyc forgets keywords (`array_like=True` of a Struct), and refuses decorators on classes that it compiles.
    found = [
        f"{path.name}: {node.name}"
        for path in compiled_modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and (node.keywords or node.decorator_list)
    ]
    assert found == []
