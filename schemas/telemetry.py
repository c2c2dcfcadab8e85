"""Records that the stream derives from messages, and the bridge's `Status`.

All times are integer unix µs. `id` names the record's content: a repeat after a crash carries the same `id` and the
same bytes, so a consumer may drop what it has seen.
"""

from enum import StrEnum

import msgspec


class TimeSource(StrEnum):
    """Whose clock a record's `event_us` is."""

    DEVICE = "device"
    RECEIVED = "received"
    """The device sent no time (or 0, or 1970): the bridge's clock."""
    RECEIVED_AHEAD = "received_ahead"
    """The device's clock ran more than 5 min ahead: the bridge's clock."""


class Clean(msgspec.Struct, frozen=True, gc=False, tag="clean.v1", tag_field="type"):
    """The good readings of one message (of one element, where a message is an array).

    `values` maps sensor to value in the sensor's unit. `sent_ts` is the time as the device wrote it. `late` readings
    are stored, but neither aggregated nor learnt. `stuck` names sensors that have not moved for longer than is normal.
    """

    id: str
    tenant: str
    site: str
    device: str
    device_type: str
    event_us: int
    received_us: int
    time_source: TimeSource
    sent_ts: int | float | str | None
    seq: int | None
    values: dict[str, float]
    late: bool = False
    stuck: list[str] = []


class ModelState(StrEnum):
    """Whether a device's scores mean something yet."""

    LEARNING = "learning"
    READY = "ready"
    PAUSED = "paused"
    """An operator has paused it: nothing of the message is scored or learnt, and no anomaly opens."""


class Severity(StrEnum):
    """How unusual: none under 0.5, notice from 0.5, warning from 0.7, critical from 0.8."""

    NONE = "none"
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class SensorScore(msgspec.Struct, frozen=True, gc=False):
    """One sensor's part of a score; `expected_low`..`expected_high` is the band the model expected the value in."""

    score: float
    alarm_score: float
    expected_low: float | None
    expected_high: float | None


class Score(msgspec.Struct, frozen=True, gc=False, tag="score.v1", tag_field="type"):
    """How unusual one message's readings are for their device, in [0, 1]; 0.5 is the alarm line.

    `score` is continuous; it may be that of a sensor that the message lacks, for 3.5 of that sensor's steps.
    `alarm_score` is what is left of it after the quiet rule and is what opens anomalies. `progress` in [0, 1] tells
    how far a learning model has come.
    """

    id: str
    tenant: str
    site: str
    device: str
    event_us: int
    seq: int | None
    score: float
    alarm_score: float
    severity: Severity
    state: ModelState
    progress: float
    sensors: dict[str, SensorScore]


class Aggregate(msgspec.Struct, frozen=True, gc=False, tag="aggregate.v1", tag_field="type"):
    """One sensor over one tumbling window [start_us, start_us + width_us), event time.

    `std` is the sample standard deviation (n - 1), 0.0 when n = 1. `p50` and `p95` are exact up to 64 values; beyond,
    their rank is off by at most `count / 64 * ceil(log2(count / 64))`. `first` and `last` are by event time.
    `revision` counts corrections by late readings. A `provisional` window is still open: its device fell silent, and
    what is known so far is shown; a later record of the same window replaces it.
    """

    id: str
    tenant: str
    site: str
    device: str
    sensor: str
    start_us: int
    width_us: int
    count: int
    mean: float
    std: float
    min: float
    max: float
    p50: float
    p95: float
    first: float
    last: float
    revision: int
    provisional: bool = False


class GapPhase(StrEnum):
    """Whether a range is still missing."""

    MISSING = "missing"
    WITHDRAWN = "withdrawn"
    """The range was filled, in whole or in part; what is still missing of it is recorded anew."""
    SEQ_JUMP = "seq_jump"
    """The device's counter leapt by more than 1,000,000: no loss is claimed."""


class Gap(msgspec.Struct, frozen=True, gc=False, tag="gap.v1", tag_field="type"):
    """A range of a device's sequence numbers that has not arrived within the allowed lateness, both ends inclusive."""

    id: str
    tenant: str
    site: str
    device: str
    epoch: int
    first_seq: int
    last_seq: int
    phase: GapPhase
    event_us: int


class DeviceLedger(msgspec.Struct, frozen=True, gc=False, tag="ledger.v1", tag_field="type"):
    """A device's two ledgers as they stood after its message received at `received_us`: counts since it was first seen.

    Messages: received = decoded + redelivered + dead + missing. Readings: decoded = stored + duplicates + dead +
    missing. What is missing is loss: 0, or a defect of Weir. `dead_messages` and `dead_readings` are by reason.
    Published when a device's first message of another five minutes (by received time) comes, and when it has fallen
    silent. Device `$` stands for the tenant's devices that were refused or forgotten, tenant `$` for messages without a
    device; where no site is known it is `$` and the partition.
    """

    id: str
    tenant: str
    site: str
    device: str
    received_us: int
    received: int
    decoded: int
    redelivered: int
    dead_messages: dict[str, int]
    missing_messages: int
    readings_decoded: int
    readings_stored: int
    readings_duplicates: int
    dead_readings: dict[str, int]
    missing_readings: int


class Status(msgspec.Struct, frozen=True, gc=False, tag="status.v1", tag_field="type"):
    """What a device (or its last will) says about itself; `text` is the payload, cut at 1 KiB.

    What the broker delivers again has the same `id` and another `received_us`.
    """

    id: str
    tenant: str
    site: str
    device: str
    text: str
    retained: bool
    received_us: int
