"""Files of routes, rules and device types that make no sense: a clear refusal that names the file."""

import time
from pathlib import Path

import pytest
import yaml

from services.alerts import rules
from services.runtime import yaml_text
from services.runtime.errors import ConfigurationError
from services.runtime.routes import load_routes
from services.stream.device_types import load_device_types

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12))
NUMBER = "9" * 10_000
TEXTS = {
    "empty": "",
    "a scalar": "5",
    "a list": "[1, 2]",
    "not closed": "routes: [",
    "tabs": "\t\t- x",
    "laughs": LAUGHS,
    "merges": MERGES,
    "laughs inside": LAUGHS + "routes: *a11\nrules: *a11\ntypes: *a11\n",
    "merges inside": MERGES + "types: {x: *a11}\nrules: [*a11]\nroutes: [*a11]\n",
    "alias of itself": "types: &a {x: *a}\nrules: &b [*b]\nroutes: *b\n",
    "deep lists": "[" * 100_000,
    "deep closed lists": "rules: " + "[" * 5000 + "]" * 5000,
    "deep maps": "".join(" " * i + "a:\n" for i in range(2000)),
    "deep flow maps": "{a: " * 2000,
    "a number too long": f"routes: [{{name: {NUMBER}}}]\nrules: [{{name: {NUMBER}}}]\ntypes: {{x: {NUMBER}}}",
    "no such day": "rules: [{name: 2026-02-30}]\nroutes: [{name: 2026-02-30}]\ntypes: {x: 2026-02-30}",
    "python object": "rules: !!python/object/apply:os.system [true]\nroutes: !!python/name:os.system",
    "two documents": "rules: []\n---\nrules: []",
    "keys twice": "rules: []\nrules: []\nroutes: 1\ntypes: 1",
    "keys that are lists": "? [a, b]\n: 1\n",
    "binary": "rules: !!binary 'AAA'\nroutes: !!binary x\ntypes: !!binary x",
    "null bytes": "rules: \x00",
    "unknown tag": "rules: !mine 5",
    "unknown alias": "rules: *nobody\ntypes: *nobody",
    "many wrong routes": "routes: [" + "{name: A}," * 500 + "]\nrules: [" + "{name: A}," * 500 + "]\ntypes: {a: 5}",
    "nan": "types: {x: {sensors: {a: {low: .nan}}}}\nrules: .nan\nroutes: .nan",
    "not itself": "types: {x: {sensors: {a: {low: 5, high: 1}}}}\nrules: no\nroutes: no",
}


def device_types(path: Path) -> None:
    load_device_types(path)


def rules_file(path: Path) -> None:
    rules.parse(path.read_text(), path.name)


def refusal(read, path: Path) -> str:
    """What is said of the file, in time."""
    began = time.process_time()
    with pytest.raises(ConfigurationError) as refused:
        read(path)
    assert time.process_time() - began < 30, "no text costs more than its length"
    return str(refused.value)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("read", [load_routes, device_types, rules_file])
def test_a_file_that_cannot_be_meant_is_refused_by_its_name(tmp_path, read, text):
    path = tmp_path / "of-mine.yaml"
    path.write_text(text, encoding="utf-8")
    if text == "" and read is not load_routes:
        read_nothing(read, path)
        return
    said = refusal(read, path)
    assert "of-mine.yaml" in said
    assert "Traceback" not in said


def read_nothing(read, path: Path) -> None:
    """An empty file of device types gives none; of rules too: that a folder holds none is refused by `load`."""
    read(path)


@pytest.mark.parametrize("read", [load_routes, device_types])
def test_bytes_that_are_no_text_are_refused(tmp_path, read):
    path = tmp_path / "of-mine.yaml"
    for content in (b"\xff\xfe\x00", b"\x00" * 100, b"routes: \xff", bytes(range(256))):
        path.write_bytes(content)
        assert "of-mine.yaml" in refusal(read, path)


def test_what_people_do_with_aliases_still_works(tmp_path):
    path = tmp_path / "types.yaml"
    path.write_text(
        "types:\n  a: {sensors: &common {t: {low: 0, high: 1}}}\n  b: {sensors: {<<: *common, u: {unit: K}}}\n"
        "assign: [{pattern: '*', type: b}]"
    )
    kind = load_device_types(path).of("acme/pump")
    assert set(kind.sensors) == {"t", "u"}


def test_the_limits_are_those_that_are_said():
    assert yaml_text.load("[" * yaml_text.DEEPEST + "]" * yaml_text.DEEPEST) is not None
    for text in (
        "[" * (yaml_text.DEEPEST + 1) + "]" * (yaml_text.DEEPEST + 1),
        "a: &a [" + "x," * 999 + "]\nb: [" + "*a," * 1000 + "]",
        "#" * (yaml_text.LARGEST + 1),
    ):
        with pytest.raises(yaml.YAMLError):
            yaml_text.load(text)
