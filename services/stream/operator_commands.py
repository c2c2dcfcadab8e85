"""Operator commands on telemetry.raw: read, and applied to a device's models. Pure.

A command stands in the log of the device's messages and is applied at its place there; what it leaves is part of the
device's snapshot. It is no message: no ledger counts it. One that cannot be applied becomes a dead letter.
"""

import re
from typing import Final, NamedTuple

import msgspec

from schemas import topics
from schemas.anomaly import Anomaly
from schemas.dead_letter import DeadLetter
from schemas.model_event import ModelEvent
from schemas.mqtt import ID
from schemas.operator import Command, OperatorCommand
from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream import anomalies, model_events
from services.stream.arrival import Arrival
from services.stream.dead_letters import dead_letter
from services.stream.device import Device
from services.stream.oversight import WHOLE_DEVICE

_KEY: Final = re.compile(rf"{ID.pattern}/{ID.pattern}".encode())
_decode = msgspec.json.Decoder(OperatorCommand).decode


class Obeyed(NamedTuple):
    """What a command made: events, and anomalies that it ended."""

    events: list[ModelEvent]
    ended: list[Anomaly]


def obey(arrival: Arrival, device: Device | None, partition: int) -> Obeyed:
    """Do to the device's models what the command says. An open anomaly about what is no longer scored as it was ends.

    Raises:
        Poison: It is no command, or nothing that the device has; then nothing was done.
    """
    command = _read(arrival)
    if device is None:
        raise Poison(Reason.WRONG_SHAPE, "operator command for a device that nothing was heard of")
    sensor = command.sensor
    if sensor is not None and sensor not in device.sensors:
        raise Poison(Reason.WRONG_SHAPE, f"operator command for a sensor that the device does not have: {sensor!r:.80}")
    ended = [] if command.command is Command.RESUME else _end_anomaly(device, sensor)
    identity = model_events.of_record(device, partition, arrival.record.offset)
    return Obeyed([_apply(command, device, arrival.received_us, identity)], ended)


def _read(arrival: Arrival) -> OperatorCommand:
    if not arrival.received_us:
        raise Poison(Reason.WRONG_SHAPE, "an operator command without the time at which it was given (`received-at`)")
    try:
        return _decode(arrival.record.value)
    except msgspec.MsgspecError as error:
        raise Poison(Reason.WRONG_SHAPE, f"no operator command: {error}") from None


def _apply(command: OperatorCommand, device: Device, at_us: int, identity: str) -> ModelEvent:
    sensor = command.sensor
    name = WHOLE_DEVICE if sensor is None else sensor
    oversight = device.oversight
    if command.command is Command.PAUSE:
        until_us = oversight.pause(name, at_us, command.for_s)
        return model_events.paused(device, identity, name, at_us, until_us, by=command.by, reason=command.reason)
    if command.command is Command.RESUME:
        oversight.resume(name)
        return model_events.resumed(device, identity, name, at_us, by=command.by, reason=command.reason)
    device.forget_learnt(sensor)
    return model_events.re_baselined(device, identity, name, at_us, by=command.by, reason=command.reason)


def _end_anomaly(device: Device, sensor: str | None) -> list[Anomaly]:
    known = device.anomaly
    if known is None or (sensor is not None and not (known.culprits and known.culprits[0].sensor == sensor)):
        return []
    ended = anomalies.end(known, device.newest_us, device.whose)
    device.anomaly, device.closed_us = None, ended.event_us
    return [ended]


def buried(partition: int, arrival: Arrival, poison: Poison) -> tuple[bytes, DeadLetter]:
    """The dead letter of a command that cannot be applied, and its key."""
    key = arrival.record.key
    letter = dead_letter(partition, arrival, None, poison.reason, poison.detail)
    if _KEY.fullmatch(key) is None:
        return topics.UNPLACED_KEY, letter
    tenant, _, device = key.decode().partition("/")
    return key, msgspec.structs.replace(letter, tenant=tenant, device=device)
