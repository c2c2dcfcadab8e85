"""The devices of one partition: found, admitted within the tenant's budget, loaded when first touched, forgotten.

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
from services.stream.windows import Page, PageId

IDLE_US: Final = 7 * 86_400 * 1_000_000
"""A device that sent nothing for so long (by received time) is forgotten when its tenant's budget is used up."""
RECENTLY_US: Final = 600 * 1_000_000
"""A device that fell silent no longer than this before a takeover may have windows that nobody has shown."""
OVERFLOW: Final = "$"
"""Device name under which a tenant's refused devices, and forgotten ones, are counted."""

FORGOTTEN_AT_ONCE: Final = 256
"""Devices that make room in one go: as many searches fewer, and no longer a pause than a moment."""

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


NOTHING_STORED: Final = Restored({})


class _Stored(NamedTuple):
    """A device that was not touched since recovery."""

    received_us: int
    snapshot: bytes


class DeviceTable:
    """See the module. `totals` is kept as the sum over all devices' ledgers when devices are loaded and forgotten."""

    def __init__(self, types: DeviceTypes, devices_per_tenant: int, restored: Restored, totals: Ledger) -> None:
        self.models_rebuilt = 0
        self._types = types
        self._budget = devices_per_tenant
        self._devices: dict[bytes, Device] = {}
        self._stored: dict[bytes, _Stored] = {}
        self._stored_pages: dict[bytes, dict[PageId, Page]] = {}
        self._changed: set[bytes] = set()
        self._farewells: list[StateChange] = []
        self._expired: dict[bytes, None] = {}
        self._per_tenant: dict[str, int] = {}
        self._next_idle_us: dict[str, int] = {}
        """By tenant: before this received time none of its devices can have been idle for long enough."""
        self._shown_silent: dict[bytes, tuple[int, int]] = {}
        """Device -> when it was last heard (received time), and up to which end its windows were shown since."""
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
                self._stored[key] = _Stored(snapshot.received_us, value)
                self._count(name, 1)
        for key in restored.stale:
            owner, _, _ = key.partition(b"|")
            device = self._load(owner)
            if owner != key:
                device.windows.changed_pages.add(_parse_page_key(key)[1])
            self._changed.add(owner)

    def __len__(self) -> int:
        return len(self._devices) + len(self._stored)

    def find(self, key: bytes, offset: int, received_us: int) -> tuple[Device, bool]:
        """The device of a record, marked as changed; False: it was refused, and its tenant's overflow stands in.

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
                    self._next_idle_us[tenant] = min(self._next_idle_us.get(tenant, 0), received_us + IDLE_US)
                else:
                    key = f"{tenant}/{OVERFLOW}".encode()
            device = self._load(key)
        self._changed.add(key)
        return device, admitted

    def take_changes(self) -> list[StateChange]:
        """State records to write: a device's pages before the device, as the device's offset covers them."""
        changes = self._farewells
        self._farewells = []
        for key in sorted(self._changed):
            device = self._devices.get(key)
            if device is None:
                continue
            windows = device.windows
            for page_id in sorted(windows.changed_pages):
                page = windows.pages[page_id]
                lead = page.applied.to_bytes(_LEAD, "big", signed=True)
                changes.append(StateChange(_page_key(key, page_id), lead + page.packed))
                self._expired.pop(_page_key(key, page_id), None)
            self._expired |= dict.fromkeys(_page_key(key, page_id) for page_id in sorted(windows.expired_pages))
            windows.changed_pages.clear()
            windows.expired_pages.clear()
            changes.append(StateChange(key, device.snapshot()))
        self._changed.clear()
        return changes

    def take_expired(self) -> list[bytes]:
        """Keys to remove from the state topic after the commit."""
        expired, self._expired = list(self._expired), {}
        return expired

    def silent(self, received_before_us: int, ended_before_us: int) -> list[tuple[Device, int]]:
        """Devices with open windows, silent since `received_before_us`; each with the end up to which they were shown.

        The first time, devices that fell silent shortly before this worker took over are loaded and looked at too.
        """
        self._look_at_stored(received_before_us)
        silent = []
        for key, device in self._devices.items():
            if device.received_us < received_before_us and device.windows.open:
                spell, shown_us = self._shown_silent.get(key, (0, 0))
                silent.append((device, shown_us if spell == device.received_us else 0))
                self._shown_silent[key] = (device.received_us, ended_before_us)
        return silent

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
            device.windows.restore([], pages)
            self._count(name, 1)
            self._expired.pop(key, None)
        else:
            device, with_models = restore(name, stored.snapshot, pages, kind)
            self.models_rebuilt += not with_models
        self._devices[key] = device
        return device

    def _count(self, key: str, step: int) -> None:
        tenant, _, device = key.partition("/")
        if device != OVERFLOW:
            self._per_tenant[tenant] = self._per_tenant.get(tenant, 0) + step

    def _has_room(self, tenant: str, offset: int, received_us: int) -> bool:
        if self._per_tenant.get(tenant, 0) < self._budget:
            return True
        # A flood of new names must not make every one of its messages a search through all devices.
        if received_us > self._next_idle_us.get(tenant, 0):
            self._forget_idle(tenant, offset, received_us)
        return self._per_tenant[tenant] < self._budget

    def _forget_idle(self, tenant: str, offset: int, received_us: int) -> None:
        mine, overflow = f"{tenant}/".encode(), f"{tenant}/{OVERFLOW}".encode()
        seen = [(device.received_us, key) for key, device in self._devices.items() if key.startswith(mine)]
        seen += [(stored.received_us, key) for key, stored in self._stored.items() if key.startswith(mine)]
        longest_silent = heapq.nsmallest(FORGOTTEN_AT_ONCE + 1, (one for one in seen if one[1] != overflow))
        for since_us, key in longest_silent[:FORGOTTEN_AT_ONCE]:
            if since_us >= received_us - IDLE_US:
                self._next_idle_us[tenant] = since_us + IDLE_US
                return
            self._forget(key, tenant, offset)
        rest = longest_silent[FORGOTTEN_AT_ONCE:]
        self._next_idle_us[tenant] = rest[0][0] + IDLE_US if rest else received_us

    def _forget(self, key: bytes, tenant: str, offset: int) -> None:
        device = self._load(key)
        overflow = self._load(f"{tenant}/{OVERFLOW}".encode())
        overflow.ledger.add(device.ledger)
        overflow.received_us = max(overflow.received_us, device.received_us)
        self._changed.add(overflow.key_bytes)
        # Written once more as if new, without its counts: should a kill fall before its removal, nothing counts twice.
        forgotten = Device(device.key, device.site, device.kind)
        forgotten.applied = offset - 1
        forgotten.received_us = device.received_us
        self._farewells.append(StateChange(key, forgotten.snapshot()))
        windows = device.windows
        pages = sorted({*windows.pages, *windows.expired_pages})
        self._expired |= dict.fromkeys([key, *(_page_key(key, page_id) for page_id in pages)])
        del self._devices[key]
        self._changed.discard(key)
        self._shown_silent.pop(key, None)
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
