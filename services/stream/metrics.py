"""The stream's metrics. The ledger's come straight from the checkpointed state (see `PipelineCollector`)."""

from collections import Counter as TopicCounts
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

from prometheus_client import Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from schemas import topics
from schemas.model_event import ModelEvent, Step
from schemas.reasons import Reason
from schemas.telemetry import Gap
from services.stream.ledger import Ledger
from services.stream.pipeline import Output, PartitionPipeline

_topic = itemgetter(0)

LAG = Gauge("weir_stream_lag_messages", "Raw records not yet processed. Rising: add a worker, or see why one is slow.")
OUTPUTS = Counter("weir_stream_outputs_total", "Records published, by topic.", ["topic"])
GAPS = Counter(
    "weir_stream_gap_messages_total",
    "Messages that did not come, by their seq: missing, withdrawn (came after all), seq_jump (leapt over). Since this"
    " worker started. Rising: devices or the way to Mosquitto lose messages, or Mosquitto was killed.",
    ["reason"],
)
MODEL_EVENTS = Counter(
    "weir_stream_model_events_total",
    "Model events: regime_adopted, drift, paused, resumed, re_baselined, learning_restarted. Since this worker started."
    " Many drifts: look at the devices' dashboard, which says what is advised.",
    ["reason"],
)
CHECKPOINTS = Counter(
    "weir_stream_checkpoints_total",
    "Checkpoints written, each of a quarter of the partitions. Standing while lag grows: the stream is stuck.",
)
CHECKPOINT_SECONDS = Counter("weir_stream_checkpoint_seconds_total", "Time spent in checkpoints.")
COMMITS_REFUSED = Counter(
    "weir_stream_commits_refused_total", "Commits that came after a partition was lost. A few per rebalance are normal."
)
STALE_STATES = Counter(
    "weir_stream_stale_states_total", "Older states found after newer ones at recovery: a frozen worker wrote late."
)
HOLES = Counter("weir_stream_log_holes_total", "Ranges that telemetry.raw lost to retention before they were read.")
PARTITIONS = Gauge("weir_stream_partitions", "Partitions that this worker owns.")


def count(outputs: Sequence[Output]) -> None:
    """Count what was published."""
    by_topic = TopicCounts(map(_topic, outputs))
    for topic, records in by_topic.items():
        OUTPUTS.labels(topic).inc(records)
    if topics.GAPS in by_topic:
        for gap in (output.record for output in outputs if isinstance(output.record, Gap)):
            GAPS.labels(gap.phase).inc(gap.last_seq - gap.first_seq + 1)
    if topics.MODEL_EVENTS in by_topic:
        for event in (output.record for output in outputs if isinstance(output.record, ModelEvent)):
            MODEL_EVENTS.labels(event.kind).inc()


class PipelineCollector(Collector):
    """Shows the ledgers of the partitions that this worker owns, summed, at each scrape; and what else they count."""

    def __init__(self, pipelines: Callable[[], list[PartitionPipeline]]) -> None:
        self._pipelines = pipelines

    def collect(self) -> Iterator[Metric]:
        """One family per line of the two ledgers, and per count of the pipelines."""
        pipelines = self._pipelines()
        total = Ledger()
        for pipeline in pipelines:
            total.add(pipeline.totals)
        yield GaugeMetricFamily("weir_stream_devices", "Devices known.", sum(map(len, pipelines)))
        yield GaugeMetricFamily(
            "weir_stream_replayed_messages",
            "Records that came again after a takeover and changed nothing twice.",
            sum(pipeline.skipped for pipeline in pipelines),
        )
        yield GaugeMetricFamily(
            "weir_stream_models_rebuilt",
            "Devices whose models could not be read back and learn anew: Weir, River or a model spec was changed.",
            sum(pipeline.models_rebuilt for pipeline in pipelines),
        )
        yield GaugeMetricFamily(
            "weir_stream_model_resets",
            "River models that broke (a score or forecast that is no finite number) and began anew, since this worker"
            " started. Rising: the model's parameters do not suit the device; see docs/scoring.md.",
            sum(pipeline.model_resets for pipeline in pipelines),
        )
        drifting = GaugeMetricFamily(
            "weir_stream_populations_drifting",
            "Sensors of a tenant's device type that are distributed otherwise than they were, by advised step.",
            labels=["reason"],
        )
        for step in (Step.WATCH, Step.RE_BASELINE):
            drifting.add_metric([step], sum(pipeline.populations_drifting[step] for pipeline in pipelines))
        yield drifting
        for name, text, value in (
            ("messages_received", "Messages taken from telemetry.raw.", total.received),
            ("messages_decoded", "Messages whose readings went on.", total.decoded),
            ("messages_redelivered", "Messages that had come before.", total.redelivered),
            ("readings_decoded", "Readings found in messages.", total.readings_decoded),
            ("readings_stored", "Good readings, published as clean.", total.readings_stored),
            ("readings_duplicates", "Readings that had come before.", total.readings_duplicates),
        ):
            yield CounterMetricFamily(f"weir_stream_{name}", text, value)
        for name, text, by_reason in (
            ("messages_dead_lettered", "Messages in the dead letter.", total.dead_messages),
            ("readings_dead_lettered", "Readings in the dead letter.", total.dead_readings),
        ):
            family = CounterMetricFamily(f"weir_stream_{name}", text, labels=["reason"])
            # All of them, also at 0: a counter that first shows at 1 has not risen.
            for reason in Reason:
                family.add_metric([reason], by_reason.get(reason, 0))
            yield family
