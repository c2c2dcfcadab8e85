"""Summaries: `{device}: mean {mean:.1f}` over a record's fields. No attributes, no indexes, no code."""

import re
import string
from collections.abc import Mapping
from typing import Any

from services.alerts.fields import Kind

MAX_LENGTH = 500
"""Characters of a summary; the rest is cut."""

_SPEC = re.compile(r"[<>^]?[+]?\d{0,2},?(\.\d{1,2})?[defgs%]?", re.ASCII)
_SAMPLES: dict[str, Any] = {"int": 1, "double": 1.0, "string": "", "bool": True}


class TemplateRefused(Exception):
    """The template cannot be used; the message says why."""


class Template:
    """A summary's text with fields in braces."""

    def __init__(self, text: str, fields: Mapping[str, Kind]) -> None:
        """Check against the fields.

        Raises:
            TemplateRefused: A field is unknown or no scalar, or a format does not fit it.
        """
        self._parts: list[tuple[str, str | None, str]] = []
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise TemplateRefused(f"{error}; write {{{{ and }}}} for braces") from None
        for literal, name, spec, conversion in parsed:
            if name is not None:
                _check(name, spec or "", conversion, fields)
            self._parts.append((literal, name, spec or ""))

    def __call__(self, record: Any) -> str:
        """The summary of one record."""
        pieces = []
        for literal, name, spec in self._parts:
            pieces.append(literal)
            if name is not None:
                value = getattr(record, name)
                pieces.append("none" if value is None else format(value, spec))
        return "".join(pieces)[:MAX_LENGTH]


def _check(name: str, spec: str, conversion: str | None, fields: Mapping[str, Kind]) -> None:
    kind = fields.get(name)
    if kind is None or not kind.is_scalar:
        known = ", ".join(field for field, k in fields.items() if k.is_scalar)
        raise TemplateRefused(f"{{{name}}} cannot be shown; there are {known}")
    if conversion is not None or not _SPEC.fullmatch(spec):
        raise TemplateRefused(f"{{{name}:{spec}}}: formats are like .1f, 6.2f, d, e, %")
    try:
        format(_SAMPLES[kind.name], spec)
    except ValueError:
        raise TemplateRefused(f"{{{name}:{spec}}}: the format does not fit {kind.name}") from None
