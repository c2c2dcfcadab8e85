"""Labels: what is anomalous in a replay, for whoever judges the scores."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from services.runtime.errors import ConfigurationError

RECORDED: Final = "recorded"
"""The kind of an anomaly that is in the recording itself."""


class Label(msgspec.Struct, frozen=True, gc=False):
    """From `from_us` to `to_us` (event time by an honest clock, unix µs, both inclusive) this device is anomalous.

    `kind` is a kind of fault, or `recorded`; `sensor` is `*` for the whole device. `size` is in sigma, in seconds for
    late and clock-jump. An injected fault's label is written when it begins: `to_us` is then what is planned.
    """

    tenant: str
    device: str
    sensor: str
    kind: str
    from_us: int
    to_us: int
    size: float | None = None
    description: str = ""


class Labels:
    """All labels of a replay, each appended to the file (where there is one) as soon as it is known."""

    def __init__(self, path: Path | None) -> None:
        self.written: list[Label] = []
        self._encode = msgspec.json.Encoder().encode
        try:
            self._file = None if path is None else path.open("wb", buffering=0)
        except OSError as error:
            raise ConfigurationError(f"labels file {path}: {error.strerror}; give a path that can be written") from None

    def write(self, label: Label) -> None:
        """Keep it, and put it in the file now."""
        self.written.append(label)
        if self._file is not None:
            self._file.write(self._encode(label) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
