"""Records that tell of a device as a whole: what is missing of its sequence, what came of its messages. Pure."""

from schemas.telemetry import DeviceLedger, Gap, GapPhase
from services.stream.device import Device
from services.stream.sequence import RangeChange


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
