"""`weir tail`: a topic's records as they are written, decoded and filtered."""

import base64
import sys
from typing import Any, Final

import msgspec

from schemas import raw, topics
from services.console import local_stack, records
from services.console.records import Entry, Reader
from services.console.wording import line_of
from services.runtime import settings
from services.runtime.errors import ConfigurationError, ExitCode
from services.runtime.settings import ToolSettings

_LOOK_BACK: Final = 20_000
"""Records of each partition that are searched for the last ones that pass a filter."""


class TailOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `weir tail` is told. A filter that is None lets everything pass."""

    topic: str
    device: str | None = None
    """`tenant/device`."""
    sensor: str | None = None
    reason: str | None = None
    follow: bool = True
    last: int = 10
    as_json: bool = False


def run(options: TailOptions) -> int:
    """Print the last records that pass, then those to come until Ctrl-C."""
    topic = records.full_name(options.topic)
    if options.sensor is not None and topic == topics.RAW:
        raise ConfigurationError(f"{topic} holds messages as they came; filter {topics.CLEAN} by sensor instead")
    local_stack.adopt()
    told = settings.load(ToolSettings)
    reader = Reader(told.kafka)
    show = to_json if options.as_json else line_of
    try:
        ends = reader.ends(topic)
        filtered = (options.device, options.sensor, options.reason) != (None, None, None)
        found = reader.last(topic, _LOOK_BACK if filtered else options.last, ends)
        passed = [entry for entry in found if passes(entry, options)]
        _print([show(entry) for entry in (passed[-options.last :] if options.last else [])])
        if options.follow:
            reader.follow({topic: ends})
            while True:
                _print([show(entry) for entry in reader.take(500, 0.2) if passes(entry, options)])
    except KeyboardInterrupt:
        return ExitCode.OK
    finally:
        reader.close()
    return ExitCode.OK


def passes(entry: Entry, options: TailOptions) -> bool:
    """Whether a record is of the device, sensor and reason that were asked for."""
    if options.device is not None and entry.key != options.device:
        return False
    if options.reason is not None and options.reason not in (
        getattr(entry.record, "reason", None),
        entry.headers.get(raw.REJECT),
    ):
        return False
    return options.sensor is None or options.sensor in _sensors(entry.record)


def to_json(entry: Entry) -> str:
    """One line of JSON: where the record stands, and the record; a value that is no JSON of ours is base64."""
    held: dict[str, Any] = (
        {"record": msgspec.Raw(entry.value)}
        if entry.record is not None
        else {"value": base64.b64encode(entry.value).decode()}
    )
    place = {"topic": entry.topic, "partition": entry.partition, "offset": entry.offset}
    about = {"timestamp_ms": entry.timestamp_ms, "key": entry.key, "headers": entry.headers}
    return msgspec.json.encode(place | about | held).decode()


def _sensors(record: Any) -> set[str]:
    """Every sensor that a record says something about."""
    found = {getattr(record, name, None) for name in ("sensor", "culprit")}
    for name in ("values", "sensors"):
        found |= set(getattr(record, name, ()))
    found |= {culprit.sensor for culprit in getattr(record, "culprits", ())}
    return {sensor for sensor in found if sensor}


def _print(lines: list[str]) -> None:
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
