"""`weir model pause | resume | re-baseline | list | show`: a person's hand on what devices' models do.

A command becomes a record on telemetry.raw, among the messages of its device, and the stream applies it there; so the
same log gives the same scores, with its pauses. What came of it stands on telemetry.model-events.
"""

import getpass
import socket
import sys
from typing import Final

import msgspec

from schemas import mqtt, raw, topics
from schemas.operator import Command, OperatorCommand
from services.console import ending
from services.console.log_slices import LogSlices, opened_log
from services.console.records import Reader, kafka_answers
from services.console.times import iso
from services.console.wording import line_of, printable
from services.runtime import kafka
from services.runtime.clock import now_us
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable
from services.runtime.settings import ToolSettings
from services.stream import recovery
from services.stream.device import Snapshot, read_snapshot
from services.stream.oversight import NO_END, Oversight

_DELIVERY_S: Final = 30.0
_EVENTS_SHOWN: Final = 20
_LOOK_BACK: Final = 20_000
"""Model events of each partition among which those of one device are looked for."""


class Paused(msgspec.Struct, frozen=True):
    """One pause that stands; `sensor` empty: the whole device. `until_us` None: until it is resumed."""

    device: str
    sensor: str
    until_us: int | None


def give(
    device: str, command: Command, *, sensor: str | None = None, for_us: int | None = None, reason: str = ""
) -> int:
    """Put a command into the log, once it is known that the device, and the sensor, are there."""
    with opened_log() as (told, log):
        snapshot = _snapshot(log, device)
        order = order_for(device, snapshot, command, sensor=sensor, for_us=for_us, by=_who(), reason=reason)
        _send(told, device, order, now_us())
    about = device if sensor is None else f"{device}, {sensor}"
    sys.stdout.write(
        f"{printable(about)}: {command} is in the log; the stream applies it when it gets there\n"
        f"  weir tail model-events --device {device}\n"
    )
    return ExitCode.OK


def order_for(
    device: str,
    snapshot: Snapshot | None,
    command: Command,
    *,
    sensor: str | None,
    for_us: int | None,
    by: str,
    reason: str,
) -> OperatorCommand:
    """The command to a device as it was checkpointed. Pure.

    Raises:
        ConfigurationError: There is no such device or sensor, nothing is paused, or a text or time does not do.
    """
    if snapshot is None:
        raise ConfigurationError(
            f"nothing was checkpointed of a device {device!r}; `weir status --devices` names them (a new one shows "
            "after some seconds)"
        )
    if sensor is not None and sensor not in snapshot.sensors:
        raise ConfigurationError(f"{device} has no sensor {sensor!r}; it has {', '.join(sorted(snapshot.sensors))}")
    order = OperatorCommand(command, sensor, None if for_us is None else for_us // 1_000_000, by, reason)
    try:
        return msgspec.convert(msgspec.to_builtins(order), OperatorCommand)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"this makes no command: {error}") from None


def paused(key: str, oversight: Oversight) -> list[Paused]:
    """What of a device is paused. Pure."""
    return [
        Paused(key, sensor, None if until_us == NO_END else until_us)
        for sensor, until_us in sorted(oversight.pauses.items())
    ]


def list_(*, as_json: bool) -> int:
    """Print what is paused, of all devices, as of the last checkpoints."""
    with opened_log() as (_, log):
        states = sorted(_snapshots(log).items())
    found = [pause for key, value in states for pause in paused(key, read_snapshot(key, value).oversight)]
    sys.stdout.write((msgspec.json.encode(found).decode() if as_json else _told(found)) + "\n")
    return ExitCode.OK


def show(device: str) -> int:
    """Print what of a device is paused, and the last events of its models."""
    with opened_log() as (told, log):
        snapshot = _snapshot(log, device)
        if snapshot is None:
            sys.stderr.write(f"weir: nothing was checkpointed of a device {device!r}; `weir status --devices`\n")
            return ending.PROBLEM
        sys.stdout.write(_told(paused(device, snapshot.oversight)) + "\n")
        reader = Reader(told.kafka)
        try:
            found = reader.last(topics.MODEL_EVENTS, _LOOK_BACK, reader.ends(topics.MODEL_EVENTS))
            lines = [line_of(entry) for entry in found if entry.key == device]
        finally:
            reader.close()
    sys.stdout.write("".join(f"{line}\n" for line in lines[-_EVENTS_SHOWN:]))
    return ExitCode.OK


def _told(found: list[Paused]) -> str:
    if not found:
        return "nothing is paused"
    lines = []
    for pause in found:
        about = f"{pause.device}, {pause.sensor}" if pause.sensor else pause.device
        end = "until it is resumed" if pause.until_us is None else f"until {iso(pause.until_us)} (received time)"
        lines.append(f"{printable(about)}: paused {end}")
    return "\n".join(lines)


def _snapshot(log: LogSlices, device: str) -> Snapshot | None:
    tenant, slash, name = device.partition("/")
    if not (slash and mqtt.ID.fullmatch(tenant) and mqtt.ID.fullmatch(name)):
        raise ConfigurationError(f"{device!r}: give the device as tenant/device, for example demo/pump-01")
    found = _snapshots(log, device).get(device)
    return None if found is None else read_snapshot(device, found)


def _snapshots(log: LogSlices, device: str | None = None) -> dict[str, bytes]:
    """What was last checkpointed of all devices, or of one."""
    merge = recovery.Merge()
    for partition, there in log.bounds(topics.STREAM_STATE, log.partitions(topics.STREAM_STATE)).items():
        for message in log.read(topics.STREAM_STATE, partition, there):
            key = message.key() or b""
            is_device = b"|" not in key and b"/" in key
            if is_device and (device is None or key == device.encode()):
                merge.take(key, message.value())
    return {key.decode(): value for key, value in merge.restored().values.items()}


def _send(told: ToolSettings, device: str, order: OperatorCommand, at_us: int) -> None:
    producer = kafka.producer(told.kafka)
    headers: list[tuple[str, str | bytes | None]] = [
        (raw.OPERATOR_COMMAND, b"1"),
        (raw.RECEIVED_AT, b"%d" % at_us),
    ]
    with kafka_answers(told.kafka):
        producer.produce(
            told.kafka.topic_prefix + topics.RAW, msgspec.json.encode(order), device.encode(), headers=headers
        )
        if producer.flush(_DELIVERY_S):
            raise Unavailable(f"Kafka at {told.kafka.bootstrap} did not take the command in {_DELIVERY_S:.0f} s")


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"[:200]
