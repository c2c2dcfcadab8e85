"""The audited ledgers beside those of the checkpointed state. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from services.console.device_ledgers import DeviceLedger, is_overflow
from services.stream.ledger import Ledger

NOTHING: Final = Ledger()


class Difference(msgspec.Struct, frozen=True):
    """What the state counts otherwise than the audit does. `device` ends in `/$` where a tenant is compared as one."""

    device: str
    partition: int
    counts: dict[str, tuple[int, int]]
    """Count -> (audited, in the state)."""


def differences(partition: int, audited: Mapping[str, Ledger], stored: Mapping[str, DeviceLedger]) -> list[Difference]:
    """Where the two differ, both of one partition.

    A tenant that had devices refused or forgotten is compared as one: its state does not say whose its counts are.
    """
    as_one = {tenant_of(key) for key in stored if is_overflow(key)}
    mine, its = defaultdict[str, Ledger](Ledger), defaultdict[str, Ledger](Ledger)
    for key, ledger in audited.items():
        mine[_name(key, as_one)].add(ledger)
    for key, device in stored.items():
        its[_name(key, as_one)].add(device.ledger)
    found = []
    for name in sorted(mine.keys() | its.keys()):
        counts = _differing(mine.get(name, NOTHING), its.get(name, NOTHING))
        if counts:
            found.append(Difference(name, partition, counts))
    return found


def tenant_of(key: str) -> str:
    """The tenant of a key `tenant/device`."""
    return key.partition("/")[0]


def _name(key: str, as_one: set[str]) -> str:
    tenant = tenant_of(key)
    return f"{tenant}/$" if tenant in as_one else key


def _differing(audited: Ledger, stored: Ledger) -> dict[str, tuple[int, int]]:
    one, other = _flat(audited), _flat(stored)
    names = [*one, *(name for name in other if name not in one)]
    return {name: (one.get(name, 0), other.get(name, 0)) for name in names if one.get(name, 0) != other.get(name, 0)}


def _flat(ledger: Ledger) -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, count in msgspec.structs.asdict(ledger).items():
        if isinstance(count, dict):
            flat |= {f"{name}.{reason}": number for reason, number in count.items()}
        else:
            flat[name] = count
    return flat
