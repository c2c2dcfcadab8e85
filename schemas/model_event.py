"""`telemetry.model-events`: what happened to a device's models: by rule, by an operator's hand, or by itself."""

from enum import StrEnum

import msgspec


class ModelEventKind(StrEnum):
    """What happened."""

    REGIME_ADOPTED = "regime_adopted"
    """A lasting change became the new normal, by rule."""
    DRIFT = "drift"
    """What a model describes has moved, or the model fits worse than it did; nothing was changed."""
    PAUSED = "paused"
    RESUMED = "resumed"
    """By an operator, or because a pause's time was over."""
    RE_BASELINED = "re_baselined"
    """By an operator: what was learnt is forgotten, and learning begins anew."""
    LEARNING_RESTARTED = "learning_restarted"
    """The stored models are of another version or model spec, and could not be read: learning begins anew."""


class DriftTest(StrEnum):
    """Which test found a drift."""

    PAGE_HINKLEY_SCORE = "page_hinkley_score"
    """The hourly mean of a device's score has risen."""
    PAGE_HINKLEY_RESIDUAL = "page_hinkley_residual"
    """A sensor's hourly mean has left what it is at that hour of the day."""
    PSI = "psi"
    """A sensor of a tenant's devices of one type is distributed otherwise than at the same hours of the week."""


class Step(StrEnum):
    """What a person is advised to do about a drift. Nothing of it is done by itself."""

    WATCH = "watch"
    RE_BASELINE = "re_baseline"
    RETIRE_MODEL = "retire_model"
    """The model does not describe this device, or type: give it another model spec."""


class ModelEvent(msgspec.Struct, frozen=True, gc=False, tag="model-event.v1", tag_field="type"):
    """One event in the life of a device's models. Device `$`, site `$` and the partition: of all devices of the type.

    `sensor` is empty where the whole device is meant. `event_us` is the device's time for what came of its readings,
    and the bridge's (or the operator's) for a pause and its end. `old_*` and `new_*`: expected range before and after,
    `after_s`: how long the change had lasted by then. `test`, `statistic`, `threshold`, `step`: of a drift. `until_us`:
    received time at which a pause ends by itself; None: when it is resumed. `by`, `reason`: as the operator told.
    """

    id: str
    kind: ModelEventKind
    tenant: str
    site: str
    device: str
    device_type: str
    sensor: str
    event_us: int
    sentence: str
    old_low: float | None = None
    old_high: float | None = None
    new_low: float | None = None
    new_high: float | None = None
    after_s: float | None = None
    test: DriftTest | None = None
    statistic: float | None = None
    threshold: float | None = None
    step: Step | None = None
    until_us: int | None = None
    by: str = ""
    reason: str = ""
