"""The devices' ledgers and alarm budgets, as the stream's checkpoints hold them on the state topic. Pure.

Of each state record only these are kept; as in recovery the highest applied offset wins, not the last record.
"""

from collections.abc import Iterator
from typing import NamedTuple

from services.scoring.calibration import Budget
from services.scoring.device import budget_in
from services.scoring.state import State, StateUnreadable
from services.stream.device import applied_of, read_snapshot
from services.stream.device_table import OVERFLOW
from services.stream.ledger import Ledger
from services.stream.recovery import RAW_TOPIC_KEY


class DeviceLedger(NamedTuple):
    """One device's counts, up to and including the offset `applied` of its partition of telemetry.raw.

    `budget`: its alarms of late and what it may have; None where its models have a form that this Weir does not read.
    """

    partition: int
    applied: int
    ledger: Ledger
    budget: Budget | None = None

    @property
    def dead(self) -> int:
        """Dead letters: messages and readings."""
        return sum(self.ledger.dead_messages.values()) + sum(self.ledger.dead_readings.values())

    @property
    def adds_up(self) -> bool:
        """Whether nothing is missing."""
        return self.ledger.missing_messages == 0 == self.ledger.missing_readings


class DeviceLedgers:
    """One partition's ledgers, as the records of its state are read."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._best: dict[str, DeviceLedger] = {}

    def take(self, key: bytes, value: bytes | None) -> None:
        """The next record of the state topic; a value of None removes the key.

        Raises:
            UnreadableSnapshot: Written by a Weir that this one does not know.
        """
        if key == RAW_TOPIC_KEY or b"|" in key:
            return
        name = key.decode()
        if value is None:
            self._best.pop(name, None)
            return
        applied = applied_of(value)
        known = self._best.get(name)
        if known is None or applied >= known.applied:
            snapshot = read_snapshot(name, value)
            self._best[name] = DeviceLedger(self._partition, applied, snapshot.ledger, _budget(snapshot.scorer))

    def __iter__(self) -> Iterator[tuple[str, DeviceLedger]]:
        return iter(self._best.items())

    def get(self, key: str) -> DeviceLedger | None:
        """A device's; None: nothing was checkpointed of it."""
        return self._best.get(key)


def _budget(scorer: State) -> Budget | None:
    try:
        return budget_in(scorer)
    except StateUnreadable:
        return None  # the stream lets such models learn anew, with a budget that nothing is spent of


def is_overflow(key: str) -> bool:
    """Whether a ledger is that of a tenant's refused and forgotten devices together."""
    return key.endswith(f"/{OVERFLOW}")
