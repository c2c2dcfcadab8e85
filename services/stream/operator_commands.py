"""Operator commands on telemetry.raw: read, and applied to a device's models. Pure.

A command stands in the log of the device's messages and is applied at its place there; what it leaves is part of the
device's snapshot. It is no message: no ledger counts it. One that cannot be applied becomes a dead letter.
"""

import re
from typing import Final

import msgspec

from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.mqtt import ID
from schemas.model_event import ModelEvent
from schemas.operator import Command, OperatorCommand
from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream import model_events
from services.stream.arrival import Arrival
from services.stream.dead_letters import dead_letter
from services.stream.device import Device
from services.stream.oversight import WHOLE_DEVICE

_KEY: Final = re.compile(rf"{ID.pattern}/{ID.pattern}".encode())
_decode = msgspec.json.Decoder(OperatorCommand).decode


def read(arrival: Arrival) -> OperatorCommand:
    """The command that a record holds.

    Raises:
        Poison: It is none, or does not say when it was given.
    """
    if not arrival.received_us:
        raise Poison(Reason.WRONG_SHAPE, "an operator command without the time at which it was given (`received-at`)")
    try:
        return _decode(arrival.record.value)
    except msgspec.MsgspecError as error:
        raise Poison(Reason.WRONG_SHAPE, f"no operator command: {error}") from None


def apply(command: OperatorCommand, device: Device, at_us: int, identity: str) -> ModelEvent:
    """Do to the device's models what the command says; what happened, under an id that begins with `identity`.

    Open anomalies are left to the caller (see `ends_anomaly`).

    Raises:
        Poison: The device has no such sensor; nothing was done.
    """
    sensor = command.sensor
    if sensor is not None and sensor not in device.sensors:
        raise Poison(Reason.WRONG_SHAPE, f"operator command for a sensor that the device does not have: {sensor!r:.80}")
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


def ends_anomaly(command: OperatorCommand, device: Device) -> bool:
    """Whether the device's open anomaly is about what the command takes away from scoring."""
    if device.anomaly is None or command.command is Command.RESUME:
        return False
    culprits = device.anomaly.culprits
    return command.sensor is None or (bool(culprits) and culprits[0].sensor == command.sensor)


def buried(partition: int, arrival: Arrival, poison: Poison) -> tuple[bytes, DeadLetter]:
    """The dead letter of a command that cannot be applied, and its key."""
    key = arrival.record.key
    letter = dead_letter(partition, arrival, None, poison.reason, poison.detail)
    if _KEY.fullmatch(key) is None:
        return topics.UNPLACED_KEY, letter
    tenant, _, device = key.decode().partition("/")
    return key, msgspec.structs.replace(letter, tenant=tenant, device=device)
