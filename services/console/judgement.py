"""How the demo's known anomalies and the anomalies that Weir opened fit together. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas.anomaly import Anomaly
from services.simulator.faults import FaultKind
from services.simulator.labels import RECORDED, Label

TO_BE_FOUND: Final = frozenset({FaultKind.SPIKE, FaultKind.STEP, FaultKind.DRIFT, FaultKind.STUCK, RECORDED})
"""What changes values. The other faults show as dead letters, gaps, redeliveries or repaired times."""
_LINGERS_US: Final = 10_000_000
"""An anomaly that opens so long after a fault has ended is still that fault's: averages remember it."""
_QUIET_US: Final = 300_000_000
"""Scoring is quiet about a device for so long after an alarm (services/scoring/calibration.py)."""


class Judgement(NamedTuple):
    """Known anomalies that are over: found, missed, or struck while the device was quiet; and alarms without one."""

    found: int
    missed: int
    quiet: int
    unexplained: int


def judge(labels: Iterable[Label], opened: Iterable[Anomaly], since_us: int, now_us: int) -> Judgement:
    """Count what began from `since_us` on (event time); anomalies opened before it only tell who was quiet.

    What has not ended by `now_us` and is not found yet counts as nothing.
    """
    begins: dict[str, list[int]] = defaultdict(list)
    for anomaly in opened:
        begins[f"{anomaly.tenant}/{anomaly.device}"].append(anomaly.opened_us)
    explained: set[tuple[str, int]] = set()
    found = missed = quiet = 0
    for label in labels:
        if label.from_us < since_us:
            continue
        key = f"{label.tenant}/{label.device}"
        until_us = label.to_us + _LINGERS_US
        hits = {(key, at_us) for at_us in begins[key] if label.from_us <= at_us <= until_us}
        explained |= hits
        if label.kind not in TO_BE_FOUND:
            continue
        if hits:
            found += 1
        elif until_us <= now_us:
            was_quiet = any(label.from_us - _QUIET_US <= at_us < label.from_us for at_us in begins[key])
            quiet += was_quiet
            missed += not was_quiet
    # A known anomaly of the recording is labelled when it has ended: what opened just now may still be explained.
    old = {
        (key, at_us) for key, times in begins.items() for at_us in times if since_us <= at_us < now_us - 6 * _LINGERS_US
    }
    return Judgement(found, missed, quiet, len(old - explained))
