"""What the oracle says of a row."""

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.drill.alarms_oracle import Findings


@dataclass
class Verdict:
    """What became of a row's messages. acknowledged = stored + dead_lettered + in_gaps + (messages named in) lost.

    A message counts as dead-lettered where at least one of its readings is; the other lists name each finding in words.
    """

    acknowledged: int = 0
    stored: int = 0
    dead_lettered: int = 0
    in_gaps: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    dead_letter_reasons: Counter[str] = field(default_factory=Counter)
    """Of this row's dead letters, poison too, repeats dropped by `id`."""
    poison_acknowledged: int = 0
    windows: int = 0
    """Windows that were compared."""
    windows_open: int = 0
    """Windows neither closed nor due to be shown yet; they are judged when the row is judged again, later."""
    alarms: int = 0
    """Alarms that had to be raised."""
    raw_repeats: int = 0
    """Messages on telemetry.raw beyond the first of each (device, seq): redeliveries."""
    derived_repeats: int = 0
    """Records on derived topics that repeat an `id`: replays."""

    @property
    def ok(self) -> bool:
        """Whether nothing is lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong)

    def add(self, findings: Findings) -> None:
        """Take in what was found about alarms."""
        self.alarms += findings.predicted
        self.lost += findings.lost
        self.doubled += findings.doubled
        self.wrong += findings.wrong
