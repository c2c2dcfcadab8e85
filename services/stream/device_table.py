"""The devices of one partition: found, admitted within the budgets, loaded when first touched, forgotten.

Also what of their state has changed since the last checkpoint. On the state topic a device's snapshot has the key
`tenant/device`, a page of closed windows `tenant/device|width|start` (s, µs); both values are led by the applied
offset.
"""

import heapq
import re
from typing import Final, NamedTuple

from schemas.mqtt import ID
from schemas.topics import UNPLACED_KEY
from services.stream.device import Device, UnreadableSnapshot, applied_of, read_snapshot, restore
from services.stream.device_types import DeviceTypes
from services.stream.ledger import Ledger
from services.stream.pages import Page, PageId
from services.stream.sensor_budget import SensorBudget
from services.stream.silence import Silence

IDLE_US: Final = 7 * 86_400 * 1_000_000
"""A device that sent nothing for so long (by received time) is forgotten when a budget is used up."""
RECENTLY_US: Final = 600 * 1_000_000
"""A device that fell silent no longer than this before a takeover may have windows that nobody has shown."""
OVERFLOW: Final = "$"
"""Device name under which a tenant's refused devices, and those that made room for its others, are counted. Where the
partition is full that is `UNPLACED_KEY` instead, so that tenants leave nothing either."""

FORGOTTEN_AT_ONCE: Final = 256
"""Devices that make room in one go: as many searches fewer, and no longer a pause than a moment."""

_EVERYBODY: Final = ""
"""In the place of a tenant: all of the partition's devices."""
_LEAD: Final = 8
_KEY: Final = re.compile(rf"{ID.pattern}/{ID.pattern}".encode())


class StateChange(NamedTuple):
    """One record for the state topic."""

    key: bytes
    value: bytes


class Restored(NamedTuple):
    """What recovery read of the partition's state: by key the value with the highest applied offset.

    `stale`: keys whose last record on the topic is an older one (a frozen worker wrote late); they are written again.
    """

    values: dict[bytes, bytes]
    stale: frozenset[bytes] = frozenset()

    def starting_with(self, prefix: bytes) -> "Restored":
        """What has such keys."""
        keys = [key for key in self.values if key.startswith(prefix)]
        return Restored({key: self.values[key] for key in keys}, self.stale.intersection(keys))

    def without(self, other: "Restored") -> "Restored":
        """All but what `other` has."""
        rest = {key: value for key, value in self.values.items() if key not in other.values}
        return Restored(rest, self.stale.difference(other.values)) if other.values else self


NOTHING_STORED: Final = Restored({})


class _Stored(NamedTuple):
    """A device that was not touched since recovery."""

    received_us: int
    snapshot: bytes


class DeviceTable:
    """See the module. `totals` and `sensors` are kept as those of all devices when devices are read and forgotten.

    Of refused devices nothing is kept but a count: the table never holds more than `devices_per_partition` + 1.
    """

    def __init__(
        self,
        types: DeviceTypes,
        devices_per_tenant: int,
        devices_per_partition: int,
        *,
        restored: Restored,
        totals: Ledger,
        sensors: SensorBudget,
    ) -> None:
        self.models_rebuilt = 0
        self._types = types
        self._sensors = sensors
        self._most_of_tenant = devices_per_tenant
        self._most = devices_per_partition
        self._devices: dict[bytes, Device] = {}
        self._stored: dict[bytes, _Stored] = {}
        self._stored_pages: dict[bytes, dict[PageId, Page]] = {}
        self._changed: set[bytes] = set()
        self._farewells: list[StateChange] = []
        self._expired: dict[bytes, None] = {}
        self._per_tenant: dict[str, int] = {}
        self._next_idle_us: dict[str, int] = {}
        """By tenant: before this received time none of its devices can have been idle for long enough."""
        self._silence = Silence()
        self._looked_at_stored = False
        for key, value in restored.values.items():
            if b"|" in key:
                owner, page_id, page = _read_page(key, value)
                self._stored_pages.setdefault(owner, {})[page_id] = page
            else:
                # Read whole, though the devices are made when they speak: what cannot be read must show at the start.
                name = key.decode("utf-8", "replace")
                snapshot = read_snapshot(name, value)
                totals.add(snapshot.ledger)
                sensors.count(name.partition("/")[0], len(snapshot.sensors))
                self._stored[key] = _Stored(snapshot.received_us, value)
                self._count(name, 1)
        for key in restored.stale:
            owner, _, _ = key.partition(b"|")
            device = self._load(owner)
            if owner != key:
                device.windows.write_again(_parse_page_key(key)[1], applied_of(restored.values[key]))
            self._changed.add(owner)

    def __len__(self) -> int:
        return len(self._devices) + len(self._stored)

    def find(self, key: bytes, offset: int, received_us: int) -> tuple[Device, bool]:
        """The device of a record, marked as changed; False: it was refused, and an overflow stands in.

        What has no device's key belongs to `UNPLACED_KEY`, whatever its key is.
        """
        device = self._devices.get(key)
        admitted = True
        if device is None:
            if _KEY.fullmatch(key) is None:
                key = UNPLACED_KEY
            elif key not in self._stored:
                tenant = key.partition(b"/")[0].decode()
                admitted = self._has_room(tenant, offset, received_us)
                if admitted:
                    for whose in (tenant, _EVERYBODY):
                        self._next_idle_us[whose] = min(self._next_idle_us.get(whose, 0), received_us + IDLE_US)
                else:
                    key = self._overflow_of(tenant)
            device = self._load(key)
        self._changed.add(key)
        return device, admitted

    def known(self, key: bytes) -> Device | None:
        """A device of which something was heard, marked as changed; None: there is none, and none is made."""
        if _KEY.fullmatch(key) is None or not self._has(key):
            return None
        self._changed.add(key)
        return self._load(key)

    def unplaced(self) -> Device:
        """What stands in for the device of a record that has none, marked as changed."""
        self._changed.add(UNPLACED_KEY)
        return self._load(UNPLACED_KEY)

    def why_refused(self, tenant: str) -> str:
        """Which budget is used up, for a person."""
        if self._per_tenant.get(tenant, 0) >= self._most_of_tenant:
            return f"the tenant has {self._most_of_tenant} devices already"
        return f"the partition has {self._most} devices already"

    def take_changes(self) -> list[StateChange]:
        """State records to write: a device's pages before the device, as the device's offset covers them."""
        changes = self._farewells
        self._farewells = []
        for key in sorted(self._changed):
            device = self._devices.get(key)
            if device is None:
                continue
            for page_id, page in device.windows.take_changed():
                lead = page.applied.to_bytes(_LEAD, "big", signed=True)
                changes.append(StateChange(_page_key(key, page_id), lead + page.written))
                self._expired.pop(_page_key(key, page_id), None)
            for page_id in device.windows.take_expired():
                self._expired[_page_key(key, page_id)] = None
            changes.append(StateChange(key, device.snapshot()))
        self._changed.clear()
        return changes

    def take_expired(self) -> list[bytes]:
        """Keys to remove from the state topic after the commit."""
        expired, self._expired = list(self._expired), {}
        return expired

    def silent(self, received_before_us: int, ended_before_us: int) -> list[tuple[Device, int]]:
        """Devices with windows to show, silent since `received_before_us`; each with the end up to which it did.

        The first time, devices that fell silent shortly before this worker took over are loaded and looked at too.
        """
        self._look_at_stored(received_before_us)
        return self._silence.with_windows(self._devices.values(), received_before_us, ended_before_us)

    def silent_unshown(self, received_before_us: int) -> list[Device]:
        """Devices that are silent since `received_before_us`, and whose ledger was not published as it stands."""
        self._look_at_stored(received_before_us)
        return [
            device
            for device in self._devices.values()
            if 0 < device.received_us < received_before_us and device.ledger_shown != device.ledger.received
        ]

    def _look_at_stored(self, received_before_us: int) -> None:
        if not self._looked_at_stored:
            self._looked_at_stored = True
            since_us = received_before_us - RECENTLY_US
            for key in [key for key, stored in self._stored.items() if stored.received_us > since_us]:
                self._load(key)

    def _load(self, key: bytes) -> Device:
        device = self._devices.get(key)
        if device is not None:
            return device
        name = key.decode()
        kind = self._types.of(name)
        pages = self._stored_pages.pop(key, {})
        stored = self._stored.pop(key, None)
        if stored is None:
            device = Device(name, "", kind)
            device.windows.restore([], pages, device.applied)
            self._count(name, 1)
            self._expired.pop(key, None)
        else:
            device, with_models = restore(name, stored.snapshot, pages, kind)
            self.models_rebuilt += not with_models
        self._devices[device.key_bytes] = device
        return device

    def _count(self, key: str, step: int) -> None:
        tenant, _, device = key.partition("/")
        if device == OVERFLOW:
            return
        count = self._per_tenant.get(tenant, 0) + step
        if count:
            self._per_tenant[tenant] = count
        else:
            del self._per_tenant[tenant]
            self._next_idle_us.pop(tenant, None)

    def _has_room(self, tenant: str, offset: int, received_us: int) -> bool:
        full = self._per_tenant.get(tenant, 0) >= self._most_of_tenant
        if full:
            self._make_room(tenant, offset, received_us)
            full = self._per_tenant.get(tenant, 0) >= self._most_of_tenant
        if not full and self._is_full():
            self._make_room(_EVERYBODY, offset, received_us)
        return not full and not self._is_full()

    def _is_full(self) -> bool:
        return len(self) - self._has(UNPLACED_KEY) >= self._most

    def _has(self, key: bytes) -> bool:
        return key in self._devices or key in self._stored

    def _overflow_of(self, tenant: str) -> bytes:
        key = f"{tenant}/{OVERFLOW}".encode()
        return key if tenant and (self._has(key) or not self._is_full()) else UNPLACED_KEY

    def _make_room(self, tenant: str, offset: int, received_us: int) -> None:
        """Forget those of a tenant's devices (or of all) that were idle for long enough, the longest first."""
        # A flood of new names must not make every one of its messages a search through all devices.
        if received_us <= self._next_idle_us.get(tenant, 0):
            return
        mine = f"{tenant}/".encode() if tenant else b""
        overflow = self._overflow_of(tenant)
        seen = [(device.received_us, key) for key, device in self._devices.items() if key.startswith(mine)]
        seen += [(stored.received_us, key) for key, stored in self._stored.items() if key.startswith(mine)]
        longest_silent = heapq.nsmallest(FORGOTTEN_AT_ONCE + 1, (one for one in seen if one[1] != overflow))
        following_us = received_us
        for number, (since_us, key) in enumerate(longest_silent):
            if since_us >= received_us - IDLE_US or number == FORGOTTEN_AT_ONCE:
                following_us = since_us + IDLE_US
                break
            self._forget(key, offset, overflow)
        self._next_idle_us[tenant] = following_us

    def _forget(self, key: bytes, offset: int, into: bytes) -> None:
        device, overflow = self._load(key), self._load(into)
        overflow.ledger.add(device.ledger)
        overflow.received_us = max(overflow.received_us, device.received_us)
        self._changed.add(overflow.key_bytes)
        # Written once more as if new, without its counts: should a kill fall before its removal, nothing counts twice.
        forgotten = Device(device.key, device.site, device.kind)
        forgotten.applied = offset - 1
        forgotten.received_us = device.received_us
        self._farewells.append(StateChange(key, forgotten.snapshot()))
        self._expired |= dict.fromkeys([key, *(_page_key(key, page_id) for page_id in device.windows.page_ids())])
        del self._devices[key]
        self._changed.discard(key)
        self._silence.forget(device)
        self._sensors.count(device.whose.tenant, -len(device.sensors))
        self._count(device.key, -1)


def _page_key(key: bytes, page_id: PageId) -> bytes:
    width_us, start_us = page_id
    return b"%b|%d|%d" % (key, width_us // 1_000_000, start_us)


def _read_page(key: bytes, value: bytes) -> tuple[bytes, PageId, Page]:
    try:
        owner, page_id = _parse_page_key(key)
        page = Page(applied_of(value), value[_LEAD:])
        page.check()
    except ValueError as error:
        raise UnreadableSnapshot(f"state of {key!r}: {error}") from None
    return owner, page_id, page


def _parse_page_key(key: bytes) -> tuple[bytes, PageId]:
    owner, width_s, start_us = key.rsplit(b"|", 2)
    return owner, (int(width_s) * 1_000_000, int(start_us))
