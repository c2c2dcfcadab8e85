"""The audited ledgers beside those of the checkpointed state. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from schemas import topics
from services.console.device_ledgers import DeviceLedger, is_overflow
from services.stream.device_table import OVERFLOW
from services.stream.ledger import Ledger

UNPLACED: Final = topics.UNPLACED_KEY.decode()


class Difference(msgspec.Struct, frozen=True):
    """What the state counts otherwise than the audit does. `device` ends in `/$` where a tenant is compared as one."""

    device: str
    partition: int
    counts: dict[str, tuple[int, int]]
    """Count -> (audited, in the state)."""


def differences(partition: int, audited: Mapping[str, Ledger], stored: Mapping[str, DeviceLedger]) -> list[Difference]:
    """Where the two differ, both of one partition.

    A tenant that had devices refused or forgotten is compared as one: its state does not say whose its counts are.
    Where the partition was full they stand with what has no device: then what differs is compared with that, as one.
    """
    as_one = {tenant_of(key) for key in stored if is_overflow(key)}
    mine, its = defaultdict[str, Ledger](Ledger), defaultdict[str, Ledger](Ledger)
    for key, ledger in audited.items():
        mine[_name(key, as_one)].add(ledger)
    for key, device in stored.items():
        its[_name(key, as_one)].add(device.ledger)
    names = sorted(mine.keys() | its.keys())
    found = {name: counts for name in names if (counts := _differing(mine[name], its[name]))}
    if UNPLACED in stored and not _differing(_sum(mine, found), _sum(its, found)):
        return []
    return [Difference(name, partition, counts) for name, counts in found.items()]


def comparable(stored: dict[str, DeviceLedger], device: str | None) -> dict[str, DeviceLedger] | None:
    """What of the state to compare where only `device` is audited; None where its counts may stand with others'."""
    if device is None:
        return stored
    if f"{tenant_of(device)}/{OVERFLOW}" in stored or (device not in stored and UNPLACED in stored):
        return None
    return {key: ledger for key, ledger in stored.items() if key == device}


def tenant_of(key: str) -> str:
    """The tenant of a key `tenant/device`."""
    return key.partition("/")[0]


def _name(key: str, as_one: set[str]) -> str:
    tenant = tenant_of(key)
    return f"{tenant}/$" if tenant in as_one else key


def _sum(ledgers: Mapping[str, Ledger], names: Iterable[str]) -> Ledger:
    total = Ledger()
    for name in names:
        total.add(ledgers[name])
    return total


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
