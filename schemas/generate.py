"""Writes `schemas/generated/` from the structs: `python -m schemas.generate`; `--check` only says what is stale."""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from schemas.asyncapi import document
from schemas.catalogue import RECORDS, tag_of
from schemas.json_schema import MESSAGE_TAG, message_schema, record_schema

FOLDER: Final = Path(__file__).parent / "generated"
SUFFIX: Final = ".schema.json"


def render(version: str) -> dict[str, str]:
    """File name -> content of everything that is generated."""
    schemas = {tag_of(record): record_schema(record) for record in RECORDS} | {MESSAGE_TAG: message_schema()}
    documents: dict[str, Any] = {f"{tag}{SUFFIX}": schema for tag, schema in schemas.items()}
    documents["asyncapi.json"] = document(version)
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in documents.items()}


def stale(files: Mapping[str, str], folder: Path) -> list[str]:
    """Names in `folder` that are missing, differ from `files`, or belong to nothing any more."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in files.keys() | there.keys() if files.get(name) != there.get(name))


def write(files: Mapping[str, str], folder: Path) -> None:
    """Make `folder` hold exactly `files`."""
    folder.mkdir(exist_ok=True)
    for name in stale(files, folder):
        if name in files:
            (folder / name).write_text(files[name], encoding="utf-8")
        else:
            (folder / name).unlink()


def project_version() -> str:
    """The version in pyproject.toml, which is the contract's too."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    version: str = tomllib.loads(text)["project"]["version"]
    return version


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 where `--check` finds something stale."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is stale")
    files = render(project_version())
    if not parser.parse_args(arguments).check:
        write(files, FOLDER)
        return 0
    wrong = stale(files, FOLDER)
    for name in wrong:
        sys.stderr.write(f"schemas/generated/{name} is stale: run `python -m schemas.generate`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
