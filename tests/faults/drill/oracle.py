"""The judge of a row: what the devices were promised against what stands in Kafka, InfluxDB and at the webhook.

Knows the contract (docs/guide.md, design.md) and nothing of Weir's code. `judge` gathers and judges;
`judge_evidence` is the pure part.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.influx_reader import InfluxReader
from tests.faults.drill.kafka_log import KafkaLog
from tests.faults.drill.workload import Workload

Post = tuple[str, bytes]
"""What came to the webhook: `Idempotency-Key`, body."""


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
    """Windows that are neither closed nor due to be shown yet; they are judged when the row is judged again later."""
    alarms: int = 0
    """Alarms that were predicted, and found."""
    raw_repeats: int = 0
    """Messages on telemetry.raw beyond the first of each (device, seq): redeliveries."""
    derived_repeats: int = 0
    """Records on derived topics that repeat an `id`: replays."""

    @property
    def ok(self) -> bool:
        """Whether nothing is lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong)


def judge(
    workload: Workload,
    record: FleetRecord,
    influx: InfluxReader,
    kafka: KafkaLog,
    *,
    gaps_allowed: bool,
    posts: Sequence[Post] | None = None,
    idle_emit_s: float = 20.0,
) -> Verdict:
    """Judge a row whose pipeline is drained. Reads what is new in Kafka first; may be called again later.

    `gaps_allowed`: whether messages may be lost before Weir has them, if it says so (only where Mosquitto is killed).
    `posts`: what came to the webhook, None where there is none. Open windows of the silent devices are expected
    `idle_emit_s` and a little after their last message, and after the windows' end by the wall clock.
    """
    raise NotImplementedError
