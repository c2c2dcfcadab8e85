"""What the devices of a row told Weir, as the log of raw messages has it: the ground truth of all that comes after.

The clock rules of the guide, in ten lines: a time more than 5 min ahead of the bridge's is replaced by the bridge's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import RawMessage
from tests.faults.drill.workload import Workload

MAX_LEAD_US: Final = 300 * 1_000_000
KEPT_BYTES: Final = 64 * 1024
"""Of a message that is too large, no more is kept."""


class Told(NamedTuple):
    """A message that came in, for the first time; `event_us` by the clock rules."""

    seq: int
    event_us: int
    values: Mapping[str, float]


@dataclass
class DeviceStory:
    """One device's messages in the order of the log, each once."""

    device: str
    told: list[Told] = field(default_factory=list)
    repeats: int = 0
    poison: list[bytes] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """Bytes on telemetry.raw that the fleet never sent."""
    last_received_us: int = 0


def event_us(ts_us: int, received_us: int) -> int:
    """The event time of what says `ts_us` and came at `received_us`."""
    return received_us if ts_us - received_us > MAX_LEAD_US else ts_us


def time_ns(at_us: int, seq: int) -> int:
    """InfluxDB's time of a reading or score."""
    return at_us * 1000 + seq % 1000


def story(workload: Workload, device_index: int, raw: list[RawMessage], record: FleetRecord) -> DeviceStory:
    """Read the raw log of a device."""
    device = workload.device_id(device_index)
    sent = record.sent.get(device, {})
    found = DeviceStory(device)
    poison = {payload[:KEPT_BYTES]: payload for payload in record.poison_sent.get(device, {})}
    seen: set[int] = set()
    for payload, received_us in raw:
        found.last_received_us = max(found.last_received_us, received_us)
        if payload in poison:
            found.poison.append(poison[payload])
            continue
        seq = seq_of(payload)
        if seq is None or seq not in sent or payload != workload.message(device_index, seq, sent[seq]):
            found.strange.append(f"{device}: telemetry.raw has bytes that were never sent: {payload[:100]!r}")
        elif seq in seen:
            found.repeats += 1
        else:
            seen.add(seq)
            at_us = event_us(sent[seq], received_us)
            found.told.append(Told(seq, at_us, workload.values(device_index, seq)))
    return found


def seq_of(payload: bytes) -> int | None:
    """The sequence number of a message of the workload's form."""
    try:
        message = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.keys() != {"ts", "seq", "values"}:
        return None
    return message["seq"] if isinstance(message["seq"], int) else None
