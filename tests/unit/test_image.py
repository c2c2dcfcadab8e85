"""The container image: what goes into it, and as whom it runs."""

import re
import tomllib
from pathlib import Path

from services.runtime.settings import known_names

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy/image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()


def pins(path):
    """Package -> (version, hashes) of a lock file."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", path.read_text()):
        if match := re.match(r"([a-z0-9][a-z0-9._-]*)==(\S+)", block):
            found[match[1]] = (match[2], frozenset(re.findall(r"sha256:[0-9a-f]{64}", block)))
    return found


def test_the_image_holds_what_was_tested_and_no_developer_s_tools():
    tested, shipped = pins(ROOT / "requirements.lock"), pins(IMAGE / "requirements.lock")
    assert {name: shipped[name] for name in shipped if tested.get(name) != shipped[name]} == {}
    assert shipped.keys() & {"pytest", "mypy", "ruff", "hypothesis"} == set()


def test_the_image_holds_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[\w.-]+", line)[0].lower() for line in project["dependencies"]}
    assert wanted <= pins(IMAGE / "requirements.lock").keys()


def test_what_compiles_the_core_is_what_was_tested_and_all_of_it():
    tested, building = pins(ROOT / "requirements.lock"), pins(IMAGE / "build-requirements.lock")
    assert {name: building[name] for name in building if tested.get(name) != building[name]} == {}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert {re.match(r"[\w.-]+", line)[0] for line in wanted} <= building.keys()


def test_everything_that_is_installed_is_checked_by_hash():
    assert all(hashes for _, hashes in pins(IMAGE / "requirements.lock").values())
    assert all(hashes for _, hashes in pins(IMAGE / "build-requirements.lock").values())
    for line in re.findall(r"pip install [^&\\\n]+", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line, line


def test_both_stages_start_from_the_same_pinned_python():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert set(bases) == {"python:3.11.14-slim-bookworm"}


def test_it_does_not_run_as_root():
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


def test_the_health_check_asks_the_port_that_all_services_are_told():
    ports = dict(re.findall(r"(WEIR_\w+__HTTP_PORT)=(\d+)", DOCKERFILE))
    assert ports.keys() == {name for name in known_names() if name.endswith("__HTTP_PORT")}
    assert set(ports.values()) == {re.search(r"HTTPConnection\('127\.0\.0\.1', (\d+)", DOCKERFILE)[1]}


def test_the_builder_is_sent_nothing_but_what_is_copied():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*", "everything is left out first"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    assert allowed == {source.partition("/")[0] for source in copied}
