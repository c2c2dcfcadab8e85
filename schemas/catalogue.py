"""What flows where: each Kafka topic with the records on it, its key, who writes it and who reads it."""

from typing import Final, NamedTuple

import msgspec

from schemas import topics
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.dead_letter import DeadLetter
from schemas.metrics import ServiceMetrics
from schemas.model_event import ModelEvent
from schemas.telemetry import Aggregate, Clean, DeviceLedger, Gap, Score, Status

Record = type[msgspec.Struct]

DEVICE_KEY: Final = "{tenant}/{device}"
SERVICES: Final = ("bridge", "stream", "sink", "alerts")


class Flow(NamedTuple):
    """One topic. `records` is empty where its values are not JSON: payloads as they came, and internal state.

    Without `readers` among the services, a topic is for people, tools and consumers outside Weir.
    """

    topic: str
    summary: str
    records: tuple[Record, ...]
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]


FLOWS: Final[tuple[Flow, ...]] = (
    Flow(
        topics.RAW,
        "MQTT messages as they came, one record each; what the bridge knows of them stands in the headers.",
        (),
        f"{DEVICE_KEY}, or {topics.UNPLACED_KEY.decode()} where no device could be told from the MQTT topic",
        ("bridge",),
        ("stream",),
    ),
    Flow(topics.CLEAN, "The good readings of messages.", (Clean,), DEVICE_KEY, ("stream",), ("sink",)),
    Flow(
        topics.AGGREGATES,
        "Tumbling windows of 10 s, 1 min and 5 min per sensor.",
        (Aggregate,),
        DEVICE_KEY,
        ("stream",),
        ("sink", "alerts"),
    ),
    Flow(topics.SCORES, "How unusual each message is for its device.", (Score,), DEVICE_KEY, ("stream",), ("sink",)),
    Flow(
        topics.ANOMALIES,
        "Intervals over the alarm line: opened, updated, closed.",
        (Anomaly,),
        DEVICE_KEY,
        ("stream",),
        ("sink", "alerts"),
    ),
    Flow(
        topics.MODEL_EVENTS,
        "What happened to models: a regime adopted, drift, paused, resumed, re-baselined, learning restarted.",
        (ModelEvent,),
        f"{DEVICE_KEY}, with `$` for all of a tenant's devices of a type",
        ("stream",),
        ("sink",),
    ),
    Flow(topics.GAPS, "Ranges of sequence numbers that are missing.", (Gap,), DEVICE_KEY, ("stream",), ("sink",)),
    Flow(
        topics.LEDGERS,
        "What came of each device's messages and readings, counted.",
        (DeviceLedger,),
        f"{DEVICE_KEY}, with `$` where none is known",
        ("stream",),
        ("sink",),
    ),
    Flow(topics.STATUS, "What devices say about themselves.", (Status,), DEVICE_KEY, ("bridge",), ()),
    Flow(
        topics.DEAD_LETTER,
        "What could not be processed, with its bytes, stage and reason.",
        (DeadLetter,),
        f"{DEVICE_KEY}, or the raw record's key where no device is known",
        ("stream", "sink"),
        (),
    ),
    Flow(topics.ALERT_EVENTS, "The life of alarms.", (AlarmEvent,), DEVICE_KEY, ("alerts",), ()),
    Flow(topics.METRICS, "What each service measured of itself.", (ServiceMetrics,), "{service}", SERVICES, ("sink",)),
    Flow(topics.STREAM_STATE, "Internal: device states.", (), "internal", ("stream",), ("stream",)),
    Flow(topics.ALERT_STATE, "Internal: open alarms.", (), "internal", ("alerts",), ("alerts",)),
)

RECORDS: Final[tuple[Record, ...]] = tuple(record for flow in FLOWS for record in flow.records)


def tag_of(record: Record) -> str:
    """The record's tag, its field `type` on the topic: `clean.v1`."""
    tag = record.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{record.__name__} has no tag; give its class tag='name.v1' and tag_field='type'")
    return tag
