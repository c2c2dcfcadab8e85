"""The two ledgers: of messages and of readings. What does not add up is loss.

Messages: received = decoded + dead-lettered + redelivered. Readings: decoded = stored + dead-lettered + duplicates.
Counted per device inside the checkpointed state, so that they are exact through any crash; a worker's totals are the
sums over its devices.
"""

import msgspec


class Ledger(msgspec.Struct, array_like=True, gc=False):
    """Counts since the device was first seen; the last two by dead-letter reason."""

    received: int = 0
    decoded: int = 0
    redelivered: int = 0
    readings_decoded: int = 0
    readings_stored: int = 0
    readings_duplicates: int = 0
    dead_messages: dict[str, int] = {}
    dead_readings: dict[str, int] = {}

    def add(self, other: "Ledger") -> None:
        """Take another ledger's counts."""
        self.received += other.received
        self.decoded += other.decoded
        self.redelivered += other.redelivered
        self.readings_decoded += other.readings_decoded
        self.readings_stored += other.readings_stored
        self.readings_duplicates += other.readings_duplicates
        for mine, its in ((self.dead_messages, other.dead_messages), (self.dead_readings, other.dead_readings)):
            for reason, count in its.items():
                mine[reason] = mine.get(reason, 0) + count

    @property
    def missing_messages(self) -> int:
        """Messages that are unaccounted for: 0, or something was lost."""
        return self.received - self.decoded - self.redelivered - sum(self.dead_messages.values())

    @property
    def missing_readings(self) -> int:
        """Readings that are unaccounted for: 0, or something was lost."""
        return (
            self.readings_decoded - self.readings_stored - self.readings_duplicates - sum(self.dead_readings.values())
        )
