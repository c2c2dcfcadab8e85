"""One device's state, and how it is written to the state topic.

Everything that the stream knows of a device stands here; nothing else of it is kept anywhere. As bytes it is the
applied offset (8 bytes, big-endian), then a msgpack array in the order of `Snapshot`'s fields: numbers, text, lists
and maps only. A later Weir adds fields at the end, with defaults, so that each reads what the other wrote; where that
does not do, it counts `VERSION` up (docs/decisions/0008-state-of-older-versions.md).
"""

import struct
import sys
from typing import Any, Final

import msgspec

from schemas.reasons import Reason
from services.runtime.errors import ConfigurationError, Poison
from services.scoring.device import DeviceScorer
from services.scoring.state import StateUnreadable
from services.stream.anomalies import OpenAnomaly, Whose
from services.stream.decoders import Decoder
from services.stream.device_types import DeviceType, SensorType
from services.stream.ledger import Ledger
from services.stream.open_windows import FirstForm
from services.stream.oversight import Oversight
from services.stream.pages import Page, PageId
from services.stream.redelivery import RecentPayloads
from services.stream.sequence import Sequence
from services.stream.windows import DeviceWindows

VERSION: Final = 2
"""2: open windows as bytes. What 1 had in their place is read too."""
_READ: Final = (1, VERSION)
LARGEST_VALUE: Final = 1e100
"""No sensor says more than this; its square still fits a float, so variances stay finite."""
MOST_SITES: Final = 8
"""Sites that a device may publish from in its life."""
LEDGER_SLOT_US: Final = 300 * 1_000_000
"""A device's ledger is published once for each such slot of received time in which it sent something."""
REMEMBERED_TIMES: Final = 8
"""Readings of a sensor among which a time collision is noticed, for devices without `seq`."""


class UnreadableSnapshot(ConfigurationError):
    """A snapshot that this version of Weir cannot read; a restart will not help."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; run the Weir that wrote it, or stop all stream workers and run `weir stream --rebuild`: the "
            "stream then makes its state anew from telemetry.raw"
        )


class SensorMemory(msgspec.Struct, array_like=True, gc=False):
    """What cleaning remembers of one sensor. Times are event times in µs.

    `value` has stood since `since_us`; `longest_us` is the longest that it stood before, over `changes` changes.
    `recent` holds the last few (time, value), flat, newest last.
    """

    value: float
    since_us: int
    newest_us: int
    longest_us: int = 0
    changes: int = 0
    recent: tuple[float, ...] = ()


class Snapshot(msgspec.Struct, array_like=True):
    """A device's state as it is written."""

    version: int
    received_us: int
    ledger: Ledger
    site: str
    newest_us: int
    sequence: Sequence
    recent_payloads: bytes
    recent_following: int
    sensors: dict[str, SensorMemory]
    open_windows: bytes | FirstForm
    anomaly: OpenAnomaly | None
    scorer: Any
    sites: list[str] = []
    closed_us: int = 0
    oversight: Oversight = msgspec.field(default_factory=Oversight)


class _Version(msgspec.Struct, array_like=True):
    """The beginning of every snapshot, of whatever version."""

    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode_version = msgspec.msgpack.Decoder(_Version).decode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Device:
    """A device while its partition is owned; see `Snapshot` for the fields."""

    __slots__ = (
        "anomaly",
        "applied",
        "closed_us",
        "decoder",
        "key",
        "key_bytes",
        "kind",
        "ledger",
        "ledger_shown",
        "newest_us",
        "oversight",
        "received_us",
        "recent_payloads",
        "scorer",
        "sensor_types",
        "sensors",
        "sequence",
        "site",
        "sites",
        "slot_end_us",
        "topic",
        "whose",
        "windows",
    )

    def __init__(self, key: str, site: str, kind: DeviceType) -> None:
        tenant, _, device = key.partition("/")
        self.key = key
        self.key_bytes = key.encode()
        # Tenant and site are those of many devices.
        self.site = site = sys.intern(site)
        self.sites = [site] if site else []
        self.kind = kind
        self.sensor_types: dict[str, SensorType] = kind.sensors
        self.whose = Whose(key, sys.intern(tenant), site, device, kind.name)
        self.applied = -1
        self.received_us = 0
        self.slot_end_us = 0
        """End of the ledger slot that `received_us` lies in."""
        self.ledger = Ledger()
        self.topic = b""
        """MQTT topic of its last message, as long as that was good: the next on it needs no other look."""
        self.decoder: Decoder | None = None
        """What reads the payloads on `topic`; None: that was not good, or none came since the device was loaded."""
        self.ledger_shown = 0
        """Messages received when the ledger was last published; not in the snapshot, as showing it changes nothing."""
        self.newest_us = 0
        self.sequence = Sequence()
        self.recent_payloads = RecentPayloads()
        self.sensors: dict[str, SensorMemory] = {}
        self.windows = DeviceWindows()
        self.anomaly: OpenAnomaly | None = None
        self.closed_us = 0
        """When (event time) the last anomaly was closed."""
        self.scorer = DeviceScorer(kind.model)
        self.oversight = Oversight()

    def snapshot(self) -> bytes:
        """The device's state, led by the offset that it has applied."""
        return self.applied.to_bytes(8, "big", signed=True) + _encode(
            Snapshot(
                version=VERSION,
                received_us=self.received_us,
                ledger=self.ledger,
                site=self.site,
                newest_us=self.newest_us,
                sequence=self.sequence,
                recent_payloads=bytes(self.recent_payloads.packed),
                recent_following=self.recent_payloads.following,
                sensors=self.sensors,
                open_windows=self.windows.pack_open(),
                anomaly=self.anomaly,
                scorer=self.scorer.to_state(),
                sites=self.sites,
                closed_us=self.closed_us,
                oversight=self.oversight,
            )
        )

    def begin_slot(self, received_us: int) -> None:
        """The ledger slot is now the one of this received time."""
        self.slot_end_us = received_us - received_us % LEDGER_SLOT_US + LEDGER_SLOT_US

    def forget_learnt(self, sensor: str | None) -> None:
        """Let the models of a sensor (None: all of them) learn anew; cleaning, windows and ledger go on."""
        self.oversight.watch.forget(sensor)
        if sensor is None:
            self.scorer = DeviceScorer(self.kind.model)
        else:
            self.scorer.forget(sensor)

    def move_to(self, site: str) -> None:
        """The device publishes from another site now.

        Raises:
            Poison: It was at as many sites as a device may; each is a series of its own in InfluxDB.
        """
        if site not in self.sites:
            if len(self.sites) >= MOST_SITES:
                raise Poison(Reason.DEVICE_BUDGET, f"the device was at {MOST_SITES} sites already")
            self.sites = [*self.sites, site]
        self.site = site
        self.whose = msgspec.structs.replace(self.whose, site=site)


def applied_of(value: bytes) -> int:
    """The applied offset that leads a state record (of a device or of a page)."""
    return int.from_bytes(value[:8], "big", signed=True)


def read_snapshot(key: str, value: bytes) -> Snapshot:
    """A device's state record.

    Raises:
        UnreadableSnapshot: Written by a Weir that this one does not know, or no snapshot at all.
    """
    try:
        version = _decode_version(value[8:]).version
        if version not in _READ:
            raise UnreadableSnapshot(f"state of {key} has version {version}; this Weir reads versions up to {VERSION}")
        return _decode(value[8:])
    except ValueError as error:
        raise UnreadableSnapshot(f"state of {key}: {error}") from None


def restore(key: str, value: bytes, pages: dict[PageId, Page], kind: DeviceType) -> tuple[Device, bool]:
    """The device, and whether its models came along (else they learn anew: they, River or the spec have changed).

    Raises:
        UnreadableSnapshot: See `read_snapshot`.
    """
    snapshot = read_snapshot(key, value)
    device = Device(key, snapshot.site, kind)
    device.sites = [sys.intern(site) for site in snapshot.sites]
    device.applied = applied_of(value)
    device.received_us = snapshot.received_us
    device.begin_slot(snapshot.received_us)
    device.ledger = snapshot.ledger
    device.newest_us = snapshot.newest_us
    device.sequence = snapshot.sequence
    device.recent_payloads = RecentPayloads(snapshot.recent_payloads, snapshot.recent_following)
    device.sensors = snapshot.sensors
    try:
        device.windows.restore(snapshot.open_windows, pages, device.applied)
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise UnreadableSnapshot(f"open windows of {key}: {error}") from None
    device.anomaly = snapshot.anomaly
    device.closed_us = snapshot.closed_us
    device.oversight = snapshot.oversight
    try:
        device.scorer = DeviceScorer.from_state(kind.model, snapshot.scorer)
    except StateUnreadable:
        device.oversight.restarted = True
        return device, False
    return device, True
