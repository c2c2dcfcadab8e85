"""What the sink measures of itself."""

from typing import Final

from prometheus_client import Counter, Gauge, Summary

from schemas.reasons import Reason
from services.sink.outcomes import Verdict

RECORDS: Final = Counter(
    "weir_sink_records_total",
    "Records read from Kafka. Flat while lag grows: InfluxDB is away (see weir_sink_writes_total).",
    ["topic"],
)
LINES: Final = Counter(
    "weir_sink_lines_written_total",
    "Lines that InfluxDB has confirmed; a replay counts again.",
    ["topic"],
)
IN_HAND: Final = Gauge(
    "weir_sink_lines_in_hand",
    "Lines read from Kafka and not yet confirmed by InfluxDB; no more are read meanwhile. Standing: InfluxDB is away.",
)
WRITES: Final = Counter(
    "weir_sink_writes_total",
    "Write requests by how they ended. `later` rising: InfluxDB is away or overloaded; `misconfigured`: mend token, "
    "bucket or address; `refused`: see the dead letter.",
    ["reason"],
)
WRITE_SECONDS: Final = Summary(
    "weir_sink_write_seconds",
    "Time of one write request. Rising: InfluxDB is slow; look at its disk and its number of series.",
)
DEAD_LETTERS: Final = Counter(
    "weir_sink_dead_letters_total",
    "Lines and records that can never be stored. Read their detail in telemetry.dead-letter.",
    ["reason"],
)
COMMITS_REFUSED: Final = Counter(
    "weir_sink_commits_refused_total",
    "Commits that Kafka refused, as after a rebalance; tried again. Steady: the sink loses its group.",
)
FETCH_ERRORS: Final = Counter(
    "weir_sink_fetch_errors_total",
    "Errors of Kafka's consumer; it goes on by itself. Rising: the log names the error (fetch_failed).",
)
LAG: Final = Gauge(
    "weir_sink_lag_messages",
    "Records in Kafka that are not yet in InfluxDB. Growing: InfluxDB is away, or another sink is needed.",
    ["topic"],
)

# Shown from the start, so that the first of a kind is seen as a rise.
DEAD_LETTERS.labels(reason=Reason.SINK_REFUSED.value)
for _verdict in Verdict:
    WRITES.labels(reason=_verdict.value)
