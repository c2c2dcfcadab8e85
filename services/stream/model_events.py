"""Model events as records: a device, and what happened to its models. Pure.

Ids are made of what the event came of (an element of a message, or an operator command in the log), so that a repeat
after a crash is the same record.
"""

from datetime import UTC, datetime
from typing import Any, Final

from schemas.model_event import DriftTest, ModelEvent, ModelEventKind, Step
from services.scoring.device import Adoption
from services.scoring.drift.device_watch import Drift
from services.scoring.drift.population import Shift
from services.stream.anomalies import Whose
from services.stream.device import Device
from services.stream.oversight import NO_END, WHOLE_DEVICE

_ADVICE: Final = {
    Step.WATCH: "watch it",
    Step.RE_BASELINE: "if that is its new normal, re-baseline it (`weir model re-baseline`)",
    Step.RETIRE_MODEL: "that came back again and again: give it another model",
}
_OF_TYPE: Final = {
    Step.WATCH: "watch it",
    Step.RE_BASELINE: "look at its devices, and re-baseline those of which that is the new normal",
    Step.RETIRE_MODEL: "for two weeks now: its ranges and model no longer describe the type; what is usual is learnt "
    "anew from here on",
}


def of_record(device: Device, partition: int, offset: int) -> str:
    """What the id of an event begins with that came of a record as a whole."""
    return f"{device.key}:@{partition}:{offset}"


def regime_adopted(device: Device, identity: str, sensor: str, event_us: int, adoption: Adoption) -> ModelEvent:
    """A lasting change became the new normal."""
    old, new = _range(adoption.old_low, adoption.old_high), _range(adoption.new_low, adoption.new_high)
    lasted = _span(adoption.after_s)
    said = f"{_named(device, sensor)}: {new} is normal now (before: {old}), after the change had lasted {lasted}."
    return _event(
        ModelEventKind.REGIME_ADOPTED,
        device,
        identity,
        sensor,
        event_us,
        said,
        old_low=adoption.old_low,
        old_high=adoption.old_high,
        new_low=adoption.new_low,
        new_high=adoption.new_high,
        after_s=adoption.after_s,
    )


def paused(
    device: Device, identity: str, sensor: str, at_us: int, until_us: int | None, *, by: str, reason: str
) -> ModelEvent:
    """An operator paused scoring and learning."""
    end = "until it is resumed" if until_us is None else f"until {_time(until_us)}"
    said = f"{_named(device, sensor)} is paused {end}{_because(by, reason)}: readings are stored, not scored or learnt."
    return _event(ModelEventKind.PAUSED, device, identity, sensor, at_us, said, until_us=until_us, by=by, reason=reason)


def resumed(
    device: Device, identity: str, sensor: str, at_us: int, *, by: str = "", reason: str = "", over: bool = False
) -> ModelEvent:
    """Scored and learnt again; `over`: the pause's time has come."""
    why = " (the pause is over)" if over else _because(by, reason)
    said = f"{_named(device, sensor)} is resumed{why}."
    return _event(ModelEventKind.RESUMED, device, identity, sensor, at_us, said, by=by, reason=reason)


def re_baselined(device: Device, identity: str, sensor: str, at_us: int, *, by: str, reason: str) -> ModelEvent:
    """An operator had what was learnt forgotten."""
    said = f"{_named(device, sensor)} is re-baselined{_because(by, reason)}: learning begins anew."
    return _event(ModelEventKind.RE_BASELINED, device, identity, sensor, at_us, said, by=by, reason=reason)


def learning_restarted(device: Device, identity: str, at_us: int) -> ModelEvent:
    """The stored models could not be read."""
    said = (
        f"{_named(device, WHOLE_DEVICE)}: its models are of another version or spec and could not be read: learning "
        "begins anew."
    )
    return _event(ModelEventKind.LEARNING_RESTARTED, device, identity, WHOLE_DEVICE, at_us, said)


def drifted(device: Device, identity: str, sensor: str, event_us: int, drift: Drift) -> ModelEvent:
    """A sensor has left what it is at that hour of the day, or the device's score has risen."""
    name = device.whose.device
    if drift.test is DriftTest.PAGE_HINKLEY_SCORE:
        what = f"{name}: its score has been higher than before for {drift.lasted_h} hours, its model fits worse"
    else:
        how = "higher" if drift.rises else "lower"
        what = (
            f"{name}: {sensor} has read {how} than usual at the same hours of the day, for {drift.lasted_h} hours now"
        )
    return _event(
        ModelEventKind.DRIFT,
        device,
        identity,
        sensor,
        event_us,
        f"{what}; {_ADVICE[drift.step]}.",
        after_s=drift.lasted_h * 3600.0,
        test=drift.test,
        statistic=drift.statistic,
        threshold=drift.threshold,
        step=drift.step,
    )


def population_shifted(partition: int, whose: Whose, sensor: str, event_us: int, shift: Shift) -> ModelEvent:
    """A sensor of a tenant's devices of one type is distributed otherwise than at the same hours of the week."""
    told = f"{sensor} of the devices of type {whose.device_type}"
    if shift.step is None:
        said = f"{told} is distributed again as it was at the same hours of the week (PSI {shift.psi:.2f})."
    else:
        measured = f"PSI {shift.psi:.2f}, KS {shift.ks:.2f}"
        said = (
            f"{told} is distributed otherwise than at the same hours of the week ({measured}); {_OF_TYPE[shift.step]}."
        )
    return ModelEvent(
        id=f"{whose.tenant}/$:@{partition}:{whose.device_type}:{sensor}:{shift.day}:{shift.test}",
        kind=ModelEventKind.DRIFT,
        tenant=whose.tenant,
        site=f"${partition}",
        device="$",
        device_type=whose.device_type,
        sensor=sensor,
        event_us=event_us,
        sentence=said,
        test=shift.test,
        statistic=shift.psi,
        threshold=shift.threshold,
        step=shift.step,
    )


def _event(
    kind: ModelEventKind, device: Device, identity: str, sensor: str, event_us: int, sentence: str, **more: Any
) -> ModelEvent:
    whose = device.whose
    return ModelEvent(
        id=f"{identity}:{kind}:{sensor}",
        kind=kind,
        tenant=whose.tenant,
        site=device.site,
        device=whose.device,
        device_type=whose.device_type,
        sensor=sensor,
        event_us=event_us,
        sentence=sentence,
        **more,
    )


def _named(device: Device, sensor: str) -> str:
    return device.whose.device if sensor == WHOLE_DEVICE else f"{device.whose.device}, {sensor}"


def _because(by: str, reason: str) -> str:
    return f"{f' by {by}' if by else ''}{f' ({reason})' if reason else ''}"


def _range(low: float | None, high: float | None) -> str:
    return "nothing yet" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _span(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} d" if seconds >= 2 * 86_400 else f"{seconds / 3600:.1f} h"


def _time(at_us: int) -> str:
    at = datetime.fromtimestamp(min(at_us, NO_END) / 1e6, tz=UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
