"""Recorded data: a CSV file with a time, readings and, if there are any, labels."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from services.runtime.errors import ConfigurationError

_TIME_NAMES = ("timestamp", "datetime", "time", "ts")
_LABEL_NAMES = ("anomaly", "label", "is_anomaly")


class Row(NamedTuple):
    """One message of a device: unix µs, readings by sensor, and whether it is labelled as an anomaly."""

    event_us: int
    values: dict[str, float]
    is_anomaly: bool


class Series(NamedTuple):
    """A device's recording. `has_labels`: the file says what is an anomaly."""

    name: str
    rows: list[Row]
    has_labels: bool


def read_series(path: Path, *, label: str | None = None, ignore: frozenset[str] = frozenset()) -> Series:
    """Read a CSV file with a header; `;` or `,` between columns.

    The time is in the column `timestamp`, `datetime`, `time` or `ts`: ISO 8601 (UTC, if no zone is given) or seconds
    since 1970. Labels are 0 or 1 in the column `label`, else in `anomaly`, `label` or `is_anomaly`. Every other column
    that is not in `ignore` is a sensor; what is not a finite number there is missing.

    Raises:
        ConfigurationError: The file cannot be read, or has no time or no rows; says what is wrong.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head = file.readline()
            file.seek(0)
            lines = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
            columns = lines.fieldnames or []
            time = next((name for name in _TIME_NAMES if name in columns), None)
            if time is None:
                raise ConfigurationError(f"{path}: no time; one column must be named {', '.join(_TIME_NAMES)}")
            if label is not None and label not in columns:
                raise ConfigurationError(f"{path}: no column {label!r}; there are {', '.join(columns)}")
            known = label or next((name for name in _LABEL_NAMES if name in columns), None)
            sensors = [name for name in columns if name not in {time, known} | ignore]
            rows = list(_rows(path, lines, time, known, sensors))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not rows:
        raise ConfigurationError(f"{path}: no rows")
    return Series(path.stem, rows, known is not None)


def _rows(path: Path, lines: "csv.DictReader[str]", time: str, label: str | None, sensors: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=2):
        try:
            event_us = _microseconds(line[time])
            is_anomaly = label is not None and float(line[label] or 0) > 0.5
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{path}, line {number}: {error}") from None
        values = {name: value for name in sensors if (value := _number(line[name])) is not None}
        yield Row(event_us, values, is_anomaly)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) else None


def _microseconds(text: str) -> int:
    try:
        return round(float(text) * 1e6)
    except ValueError:
        at = datetime.fromisoformat(text.strip())
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
