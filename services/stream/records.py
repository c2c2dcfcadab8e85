"""What the stream publishes, as records: a device and what was found out about it go in. Pure.

The ids are made here. A record that comes again after a crash must be the same to the byte: nothing in it may depend on
when, or in which batch, it is made.
"""

from typing import Final

from schemas.telemetry import Aggregate, Clean, DeviceLedger, Gap, GapPhase, Score, TimeSource
from services.scoring.device import DeviceScore
from services.stream.decoders import Element
from services.stream.device import Device
from services.stream.sequence import RangeChange
from services.stream.windows import Emission

_DEVICE: Final = TimeSource.DEVICE


def identity_of(
    device: Device, element: Element, position: int, source: TimeSource, *, at: tuple[int, int], replayed: bool
) -> str:
    """The id of what one element of a message becomes. `at` is the message's partition and offset."""
    sent = "-" if element.ts is None else element.ts
    if element.seq is None or source is not _DEVICE or replayed:
        # Messages about other sensors may share a time, a counter without a clock comes by each number again, and a
        # replay holds what its first time did not: where a record stands in the log tells them apart.
        return f"{device.key}:{sent}:@{at[0]}:{at[1]}:{position}"
    return f"{device.key}:{sent}:{element.seq}:{position}"


def clean_record(
    device: Device,
    identity: str,
    event_us: int,
    source: TimeSource,
    received_us: int,
    element: Element,
    values: dict[str, float],
    stuck: list[str],
    *,
    late: bool,
) -> Clean:
    """An element's good readings."""
    whose = device.whose
    # In the order of the fields: by their names it takes twice as long.
    return Clean(
        identity,
        whose.tenant,
        device.site,
        whose.device,
        whose.device_type,
        event_us,
        received_us,
        source,
        element.ts,
        element.seq,
        values,
        late,
        stuck,
    )


def score_record(device: Device, identity: str, event_us: int, seq: int | None, scored: DeviceScore) -> Score:
    """How unusual an element's readings are."""
    whose = device.whose
    score, alarm_score, severity, state, progress, sensors, _, _, _ = scored
    return Score(
        identity,
        whose.tenant,
        device.site,
        whose.device,
        event_us,
        seq,
        score,
        alarm_score,
        severity,
        state,
        progress,
        sensors,
    )


def aggregate_record(device: Device, emission: Emission) -> Aggregate:
    """A window that was closed, corrected, or is shown while it is open."""
    sensor, width_us, start_us, window, provisional = emission
    p50, p95 = window.quantiles.at(0.5, 0.95)
    version = f"p{window.count}" if provisional else str(window.revision)
    whose = device.whose
    return Aggregate(
        f"{device.key}/{sensor}:{width_us}:{start_us}:{version}",
        whose.tenant,
        device.site,
        whose.device,
        sensor,
        start_us,
        width_us,
        window.count,
        window.mean,
        window.std,
        window.low,
        window.high,
        p50,
        p95,
        window.first,
        window.last,
        window.revision,
        provisional,
    )


def gap_record(device: Device, change: RangeChange) -> Gap:
    """What became known of a range of the device's sequence numbers."""
    phase = GapPhase.SEQ_JUMP if change.jump else GapPhase.MISSING if change.missing else GapPhase.WITHDRAWN
    return Gap(
        id=f"{device.key}:{change.epoch}:{change.first}:{change.last}:{phase}",
        tenant=device.whose.tenant,
        site=device.site,
        device=device.whose.device,
        epoch=change.epoch,
        first_seq=change.first,
        last_seq=change.last,
        phase=phase,
        # A device whose times were never believed has none.
        event_us=device.newest_us or device.received_us,
    )


def ledger_record(partition: int, device: Device) -> DeviceLedger:
    """The device's ledger as it stands. Each partition has a `$` of each tenant: the site tells them apart."""
    ledger = device.ledger
    return DeviceLedger(
        id=f"{partition}:{device.key}:{device.received_us}:{ledger.received}",
        tenant=device.whose.tenant,
        site=device.site or f"${partition}",
        device=device.whose.device,
        received_us=device.received_us,
        received=ledger.received,
        decoded=ledger.decoded,
        redelivered=ledger.redelivered,
        dead_messages=dict(ledger.dead_messages),
        missing_messages=ledger.missing_messages,
        readings_decoded=ledger.readings_decoded,
        readings_stored=ledger.readings_stored,
        readings_duplicates=ledger.readings_duplicates,
        dead_readings=dict(ledger.dead_readings),
        missing_readings=ledger.missing_readings,
    )
