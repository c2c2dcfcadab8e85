"""`weir config show`: every setting, with its value where it stands; secrets as stars."""

import sys
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.console import local_stack
from services.console.influx import STARS, shown_url
from services.runtime import settings
from services.runtime.errors import ExitCode
from services.runtime.settings import PREFIX, ToolSettings

LOCAL: Final = (
    ("LOCAL_RUN_DIR", ".run in the checkout", "where `weir up` keeps data, logs and the supervisor's socket"),
    ("LOCAL_MQTT_PORT", "1883", "Mosquitto's port"),
    ("LOCAL_KAFKA_PORT", "9092", "Kafka's port"),
    ("LOCAL_KAFKA_CONTROLLER_PORT", "9093", "Kafka's controller's port"),
    ("LOCAL_INFLUX_PORT", "8086", "InfluxDB's port"),
    ("LOCAL_INFLUX", "1", "1: InfluxDB 1.8; 2: InfluxDB 2.7"),
    ("LOCAL_CACHE", "~/.cache/weir", "where deploy/local/install.sh puts the servers"),
)
"""Of the local stack: (name, default, description)."""


class Setting(msgspec.Struct, frozen=True):
    """One setting as a person sees it; `value` and `default` are text, a secret's is stars. "": not set."""

    name: str
    value: str
    default: str
    takes: str
    description: str


def run(*, markdown: bool) -> int:
    """Print the table, or, for docs/settings.md, the one that holds on every machine."""
    if markdown:
        sys.stdout.write(to_markdown(list_settings(None)))
        return ExitCode.OK
    stack = local_stack.adopt()
    told = settings.load(ToolSettings)
    console = Console(highlight=False)
    if stack is not None:
        console.print(f"as the local stack in {stack.run_dir} runs with", style="dim")
    console.print(_table(list_settings(told)))
    console.print("bold: not the default; secrets show as stars", style="dim")
    return ExitCode.OK


def list_settings(told: ToolSettings | None) -> list[Setting]:
    """Every setting by name, in the order of the services; values are those of `told`, or else the defaults."""
    return list(_settings(told))


def to_markdown(listed: list[Setting]) -> str:
    """docs/settings.md."""
    rows = [
        f"| `{each.name}` | {_cell(each.default)} | {_plain(each.takes)} | {_plain(each.description)} |"
        for each in listed
    ]
    local = [f"| `{name}` | `{default}` | {description} |" for name, default, description in LOCAL]
    return "\n".join(
        [
            "# Settings",
            "",
            "Weir is told everything by environment variables. `weir config show` prints them with the values that hold"
            " where it is typed; a name that begins with `WEIR_` and is not in this table is refused, as it is a typo."
            " This page is made by `weir config show --markdown > docs/settings.md`, and a test holds it to the code.",
            "",
            "A password or token can stand in a file instead: the setting of that name that ends in `_FILE` names it.",
            "",
            "| setting | default | takes | what it says |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Of the local stack",
            "",
            "`weir up`, and all commands that look for what it started, also read:",
            "",
            "| variable | default | what it says |",
            "|---|---|---|",
            *local,
            "",
        ]
    )


def _settings(told: ToolSettings | None) -> Iterator[Setting]:
    for group, field in ToolSettings.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        for name, option in kind.model_fields.items():
            yield Setting(
                name=f"{PREFIX}{group}__{name}".upper(),
                value=_shown(option, option.default if told is None else getattr(getattr(told, group), name)),
                default=_shown(option, option.default),
                takes=_takes(option),
                description=option.description or "",
            )


def _shown(option: FieldInfo, value: Any) -> str:
    if value is None:
        return ""
    if SecretStr in (option.annotation, *get_args(option.annotation)):
        return STARS
    if isinstance(value, bool):
        return str(value).lower()
    return shown_url(str(value))


def _takes(option: FieldInfo) -> str:
    """What fits: the choices, the range, or the type."""
    kinds = [kind for kind in (get_args(option.annotation) or (option.annotation,)) if kind is not type(None)]
    if get_origin(option.annotation) is Literal:
        return ", ".join(str(choice) for choice in kinds)
    limits = {
        name: value
        for limit in option.metadata
        for name in ("gt", "ge", "le", "lt")
        if (value := getattr(limit, name, None)) is not None
    }
    low = f"over {limits['gt']:g}" if "gt" in limits else f"from {limits['ge']:g}" if "ge" in limits else ""
    high = f"to {limits['le']:g}" if "le" in limits else ""
    kind = kinds[0]
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "secret"}
    return " ".join(part for part in (names.get(kind, "path"), low, high) if part)


def _table(listed: list[Setting]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("setting", "value", "default"):
        table.add_column(column, overflow="fold")
    table.add_column("what it says", overflow="fold", ratio=1)
    for each in listed:
        value = Text(each.value or "-", "bold" if each.value != each.default else "")
        table.add_row(Text(each.name), value, Text(each.default or "-", "dim"), Text(each.description))
    return table


def _cell(text: str) -> str:
    return f"`{text}`" if text else "-"


def _plain(text: str) -> str:
    """Text that a Markdown table leaves alone."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
