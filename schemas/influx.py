"""Where results stand in InfluxDB. Device tags are `tenant, site, device, sensor` and nothing else; times are ns.

The time of a reading, and of a score, is `event_us * 1000 + seq % 1000`: two messages with the same `ts` and another
`seq` stay two points. Same series and same time is the same point, so a replay overwrites itself.
"""

import zlib
from typing import Final

BUCKET: Final = "telemetry"
"""Kept 30 days."""
BUCKET_LONG: Final = "telemetry_long"
"""Kept 2 years."""

READINGS: Final = "readings"
SCORES: Final = "scores"
"""With tag `sensor`: that sensor's score; without: the device's own."""
AGGREGATES_10S: Final = "aggregates_10s"
AGGREGATES_1M: Final = "aggregates_1m"
AGGREGATES_5M: Final = "aggregates_5m"
ANOMALIES: Final = "anomalies"
MODEL_EVENTS: Final = "model_events"
GAPS: Final = "gaps"
LEDGER: Final = "ledger"
PIPELINE: Final = "pipeline"

SECOND_US: Final = 1_000_000
WINDOW_MEASUREMENTS: Final = {
    10 * SECOND_US: (BUCKET, AGGREGATES_10S),
    60 * SECOND_US: (BUCKET_LONG, AGGREGATES_1M),
    300 * SECOND_US: (BUCKET_LONG, AGGREGATES_5M),
}
"""Window width in µs -> (bucket, measurement)."""


def model_event_time_ns(event_id: str, event_us: int) -> int:
    """The InfluxDB time of a model event: several of one sensor and microsecond stay points of their own."""
    return event_us * 1000 + zlib.crc32(event_id.encode()) % 1000


def gap_time_ns(gap_id: str, event_us: int) -> int:
    """The InfluxDB time of a gap: ranges of a device that were told within one millisecond stay points of their own."""
    return event_us // 1000 * 1_000_000 + zlib.crc32(gap_id.encode()) % 1_000_000


def time_ns(event_us: int, seq: int | None) -> int:
    """The InfluxDB time of a reading or score."""
    return event_us * 1000 + (seq % 1000 if seq else 0)
