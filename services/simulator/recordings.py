"""Recordings: what sensors really said, from a CSV file or built in."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas import mqtt
from services.runtime.errors import ConfigurationError
from services.simulator import water_flow
from services.simulator.options import WATER_FLOW

TIME_COLUMNS: Final = frozenset({"ts", "time", "timestamp", "datetime"})
TRUTH_COLUMNS: Final = frozenset({"anomaly", "is_anomaly", "label"})
"""Numeric columns of these names say where the recording is anomalous (not 0); they are no sensors."""
UNSENT_COLUMNS: Final = frozenset({"changepoint"})
"""What people wrote into public benchmarks beside the signal; a device would not send it."""
MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none"})

Values = npt.NDArray[np.float64]


class RecordingError(ConfigurationError):
    """A recording cannot be read; the message names the file, the line and the fix."""


@dataclass(frozen=True)
class RecordedAnomaly:
    """Rows `first` to `last`, both inclusive, in which `sensor` (`*`: the device) is known to be anomalous."""

    first: int
    last: int
    sensor: str
    description: str


@dataclass(frozen=True, eq=False)
class Recording:
    """Rows of readings. `offsets_s` are seconds since the first row, never falling; a missing value is NaN.

    `derived` names sensors that were computed from recorded ones.
    """

    name: str
    sensors: tuple[str, ...]
    offsets_s: Values
    values: Values
    derived: tuple[str, ...] = ()
    anomalies: tuple[RecordedAnomaly, ...] = ()

    def __len__(self) -> int:
        """Rows."""
        return len(self.values)

    @cached_property
    def anomaly_at(self) -> dict[int, RecordedAnomaly]:
        """Row -> the anomaly that it belongs to."""
        return {row: anomaly for anomaly in self.anomalies for row in range(anomaly.first, anomaly.last + 1)}

    @cached_property
    def spacing_s(self) -> float:
        """The usual number of seconds between rows."""
        steps = np.diff(self.offsets_s)
        return float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0

    @cached_property
    def period_s(self) -> float:
        """Seconds from the first row to the first row's next turn, when the recording is replayed in a circle."""
        return float(self.offsets_s[-1]) + self.spacing_s


def load(source: str) -> Recording:
    """The recording of that name: a built-in one (`river:WaterFlow`), or the path of a CSV file.

    Raises:
        RecordingError: No such recording, or line so-and-so is not what it should be.
    """
    if source in _BUILT_IN:
        return _BUILT_IN[source]()
    if source.startswith("river:"):
        raise RecordingError(f"{source}: no such recording; built in: {', '.join(sorted(_BUILT_IN))}")
    return _read(Path(source))


def _water_flow() -> Recording:
    offsets, values = water_flow.rows()
    return Recording(
        name=WATER_FLOW,
        sensors=water_flow.SENSORS,
        offsets_s=np.array(offsets),
        values=np.array(values),
        derived=water_flow.DERIVED,
        anomalies=tuple(RecordedAnomaly(*found) for found in water_flow.ANOMALIES),
    )


_BUILT_IN: Final[dict[str, Callable[[], Recording]]] = {WATER_FLOW: _water_flow}


def _read(path: Path) -> Recording:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(path.name, file)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}; give a CSV file, or one of: {', '.join(_BUILT_IN)}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not UTF-8; save the file as UTF-8 text") from None
    except csv.Error as error:
        raise RecordingError(f"{path}: not a CSV file ({error})") from None


def _parse(name: str, lines: Iterator[str]) -> Recording:
    header = next(lines, "")
    separator = max(",;\t|", key=header.count)
    names = [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])]
    time_column = _time_column(name, names)
    times: list[float] = []
    rows: list[list[str]] = []
    numbers: list[int] = []
    reader = csv.reader(lines, delimiter=separator)
    for cells in reader:
        line = reader.line_num + 1
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        if len(cells) != len(names):
            raise RecordingError(f"{name}: line {line} has {len(cells)} columns, the header {len(names)}")
        times.append(_time(cells[time_column], f"{name}: line {line}, column {names[time_column]!r}"))
        if len(times) > 1 and times[-1] < times[-2]:
            raise RecordingError(f"{name}: line {line} is earlier than the line before; sort the file by time")
        rows.append([cell.strip() for cell in cells])
        numbers.append(line)
    if len(rows) < 2:
        raise RecordingError(f"{name}: {len(rows)} rows of data; a recording needs two or more")
    columns = {
        names[i]: _column([row[i] for row in rows], names[i], numbers, name)
        for i in range(len(names))
        if i != time_column and names[i].lower() not in UNSENT_COLUMNS and _is_numeric(row[i] for row in rows)
    }
    truth = [column for column in columns if column.lower() in TRUTH_COLUMNS]
    signals = {column: values for column, values in columns.items() if column not in truth}
    if not signals:
        raise RecordingError(f"{name}: no numeric column beside {names[time_column]!r}; a recording needs a sensor")
    return Recording(
        name=name,
        sensors=_sensor_names(name, list(signals)),
        offsets_s=np.array(times) - times[0],
        values=np.column_stack(list(signals.values())),
        anomalies=tuple(found for column in truth for found in _intervals(columns[column], column)),
    )


def _time_column(name: str, names: list[str]) -> int:
    found = [i for i, column in enumerate(names) if column.lower() in TIME_COLUMNS]
    if len(found) != 1:
        raise RecordingError(
            f"{name}: line 1: {len(found)} time columns among {names}; call exactly one of them "
            f"{', '.join(sorted(TIME_COLUMNS))}"
        )
    return found[0]


def _time(cell: str, where: str) -> float:
    """Unix seconds of ISO 8601 (without an offset: UTC) or of a number in s, ms, µs or ns, told by its magnitude."""
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise RecordingError(f"{where}: {text!r} is no time; write ISO 8601 or unix time") from None
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(number):
        raise RecordingError(f"{where}: {text!r} is no time; write ISO 8601 or unix time")
    for limit, per_second in ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6)):
        if abs(number) < limit:
            return number / per_second
    return number / 1e9


def _is_numeric(cells: Iterator[str]) -> bool:
    """Whether the first cell that says anything is a number: then the column must hold numbers."""
    for cell in cells:
        if cell.lower() not in MISSING:
            try:
                float(cell)
            except ValueError:
                return False
            return True
    return False


def _column(cells: list[str], column: str, lines: list[int], name: str) -> Values:
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if cell.lower() in MISSING:
            continue
        try:
            values[i] = float(cell)
        except ValueError:
            values[i] = np.inf
        if np.isinf(values[i]):
            raise RecordingError(
                f"{name}: line {lines[i]}, column {column!r}: {cell!r} is no finite number; leave a missing value empty"
            )
    return values


def _sensor_names(name: str, columns: list[str]) -> tuple[str, ...]:
    """Columns as sensor names: what a name may not hold becomes `_`."""
    allowed = "".join
    made = tuple(allowed(c if mqtt.SENSOR.fullmatch(c) else "_" for c in column).strip("_")[:64] for column in columns)
    for column, sensor in zip(columns, made, strict=True):
        if not sensor or made.count(sensor) > 1:
            raise RecordingError(f"{name}: line 1: column {column!r} makes no sensor name of its own; rename it")
    return made


def _intervals(truth: Values, column: str) -> Iterator[RecordedAnomaly]:
    marked = np.flatnonzero(np.nan_to_num(truth) != 0)
    for run in np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1):
        if len(run):
            yield RecordedAnomaly(int(run[0]), int(run[-1]), "*", f"marked in column {column!r}")
