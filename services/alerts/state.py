"""What alerts remember of a device, as JSON in the compacted topic `weir-alerts-state`, key `{tenant}/{device}`.

Each source has its own `Watch`, led by the offset that it has applied: records at or below it are skipped whole. At
recovery the `Watch` that has seen more wins, each source for itself, so that a frozen worker's late write cannot win.
"""

import msgspec

from schemas.alarm import AlarmEvent
from services.alerts.rules import Channel


class Notification(msgspec.Struct, frozen=True):
    """An event that a channel still has to carry."""

    channel: Channel
    event: AlarmEvent


class Track(msgspec.Struct, frozen=True):
    """A sensor (of anomalies: the device, "") that meets a rule's condition, since when, and whether for long enough.

    `raising` is the event that a pending anomaly will raise when its time has come.
    """

    since_us: int
    held: bool = False
    raising: AlarmEvent | None = None


class RuleState(msgspec.Struct, frozen=True):
    """One rule on one device. `alarm` is the event that raised what is not cleared; it stands while a track is held."""

    tracks: dict[str, Track] = {}
    alarm: AlarmEvent | None = None

    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.tracks and self.alarm is None


class Seen(msgspec.Struct, frozen=True, order=True):
    """How far a sequence of records has come. `anomaly` is the anomaly that the last one told of, "" of windows."""

    at_us: int
    revision: int
    anomaly: str = ""


class Watch(msgspec.Struct, frozen=True):
    """One device under the rules of one source. `clock_us` is the latest event time that changed it."""

    applied: int = -1
    clock_us: int = 0
    seen: dict[str, Seen] = {}
    rules: dict[str, RuleState] = {}
    outbox: tuple[Notification, ...] = ()


class DeviceState(msgspec.Struct, frozen=True, tag="alerts-state.v1", tag_field="type"):
    """One device."""

    anomalies: Watch = Watch()
    aggregates: Watch = Watch()


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(DeviceState).decode


def merged(earlier: DeviceState, later: DeviceState) -> DeviceState:
    """Of two records of a device, what is furthest in each source; `later` stands later in the log and wins a tie."""
    return DeviceState(
        anomalies=_further(earlier.anomalies, later.anomalies),
        aggregates=_further(earlier.aggregates, later.aggregates),
    )


def _further(earlier: Watch, later: Watch) -> Watch:
    return earlier if (earlier.applied, earlier.clock_us) > (later.applied, later.clock_us) else later
