"""YAML files of rules as plain values that know where they stand, so that every problem names its place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from services.runtime import yaml_text
from services.runtime.errors import ConfigurationError


class Problems:
    """All that is wrong with the rules of a folder; raised at once, so that one round of corrections is enough."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Record one."""
        self._lines.append(f"{place}: {message}")

    def raise_any(self) -> None:
        """Raise if there is one.

        Raises:
            ConfigurationError: Naming each.
        """
        if self._lines:
            raise ConfigurationError("rules refused:\n  " + "\n  ".join(self._lines))


class Entry(NamedTuple):
    """A key's value, and the line (from 1) that it begins on."""

    value: Any
    line: int


class RawRule(NamedTuple):
    """One item under `rules:`."""

    file: str
    line: int
    entries: dict[str, Entry]


def read_folder(folder: Path, problems: Problems) -> list[RawRule]:
    """Every rule in the folder's `*.yaml` and `*.yml`, files by name, rules as they stand.

    Raises:
        ConfigurationError: There is no such folder, or no file in it may be read.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; WEIR_ALERTS__RULES_DIR names the folder of YAML rules")
    files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    return [rule for path in files for rule in read_file(path, problems)]


def read_file(path: Path, problems: Problems) -> Iterator[RawRule]:
    """The rules of one file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.add(str(path), f"cannot be read: {error}")
        return iter(())
    return read_text(text, str(path), problems)


def read_text(text: str, file: str, problems: Problems) -> Iterator[RawRule]:
    """The rules of one file's text."""
    try:
        root = yaml_text.compose(text)
        if root is None:
            return
        for line, key, value in _pairs(root, file, problems):
            if key != "rules" or not isinstance(value, yaml.SequenceNode):
                problems.add(f"{file}:{line}", "a file holds one list: `rules:`")
                continue
            for item in value.value:
                entries = {
                    name: Entry(yaml_text.construct(node), node.start_mark.line + 1)
                    for _, name, node in _pairs(item, file, problems)
                }
                yield RawRule(file, item.start_mark.line + 1, entries)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.add(f"{file}:{line}", f"this is no YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        problems.add(file, f"this is no YAML: {error}")


def _pairs(node: yaml.Node, file: str, problems: Problems) -> Iterator[tuple[int, str, yaml.Node]]:
    """Line, key and value of a mapping; PyYAML would let the last of two equal keys win without a word."""
    if not isinstance(node, yaml.MappingNode):
        problems.add(f"{file}:{node.start_mark.line + 1}", "here `key: value` pairs are expected")
        return
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen:
            problems.add(f"{file}:{line}", f"{key!r} stands twice")
            continue
        seen.add(key)
        yield line, key, value_node
