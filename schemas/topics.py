"""Kafka topics: names, keys, retention.

Every topic has the same number of partitions and the same key, `{tenant}/{device}`, placed by `murmur2_random`,
so that a device's records stand in one partition of each topic, in order. Names that begin with `weir-` are internal.
"""

from typing import Final, NamedTuple

RAW: Final = "telemetry.raw"
CLEAN: Final = "telemetry.clean"
AGGREGATES: Final = "telemetry.aggregates"
SCORES: Final = "telemetry.scores"
ANOMALIES: Final = "telemetry.anomalies"
MODEL_EVENTS: Final = "telemetry.model-events"
GAPS: Final = "telemetry.gaps"
LEDGERS: Final = "telemetry.ledgers"
STATUS: Final = "telemetry.status"
DEAD_LETTER: Final = "telemetry.dead-letter"
ALERT_EVENTS: Final = "alerts.events"
STREAM_STATE: Final = "weir-stream-state"
ALERT_STATE: Final = "weir-alerts-state"
METRICS: Final = "weir-metrics"

PARTITIONER: Final = "murmur2_random"
"""librdkafka's default differs from Java's and aiokafka's; with this one all clients agree on a key's partition."""

UNPLACED_KEY: Final = b"$/$"
"""Key of what the bridge could not place with any device; `$` is no part of an id, so no device can share it."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class Topic(NamedTuple):
    """How a topic is kept. `retention_bytes` is per partition; a compacted topic keeps each key's last value."""

    name: str
    retention_ms: int
    retention_bytes: int
    compacted: bool = False

    def config(self) -> dict[str, str]:
        """The topic's Kafka configuration.

        State topics compact only what is older than `min.compaction.lag.ms`, so that a frozen worker's late write
        cannot hide the newer state before recovery (the highest applied offset wins) has repaired it.
        """
        if self.compacted:
            return {
                "cleanup.policy": "compact",
                "min.compaction.lag.ms": str(_HOUR_MS),
                "segment.ms": str(_HOUR_MS // 6),
                "max.message.bytes": "8388608",
            }
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": str(self.retention_bytes),
            # A dead letter holds its message in base64.
            "max.message.bytes": "2097152",
        }


def _kept(name: str, days: float, gib: float) -> Topic:
    return Topic(name, round(days * _DAY_MS), round(gib * 1024**3))


ALL: Final[tuple[Topic, ...]] = (
    _kept(RAW, 7, 8),
    _kept(CLEAN, 7, 8),
    _kept(AGGREGATES, 7, 4),
    _kept(SCORES, 7, 8),
    _kept(ANOMALIES, 30, 1),
    _kept(MODEL_EVENTS, 30, 1),
    _kept(GAPS, 30, 1),
    _kept(LEDGERS, 7, 1),
    _kept(STATUS, 7, 1),
    _kept(DEAD_LETTER, 30, 4),
    _kept(ALERT_EVENTS, 30, 1),
    _kept(METRICS, 1, 0.25),
    Topic(STREAM_STATE, -1, -1, compacted=True),
    Topic(ALERT_STATE, -1, -1, compacted=True),
)


def key_of(tenant: str, device: str) -> str:
    """The key of all of a device's records."""
    return f"{tenant}/{device}"
