"""Which topics the sink reads, and how a record of each becomes lines."""

from collections.abc import Callable, Mapping

import msgspec

from schemas import topics
from schemas.anomaly import Anomaly
from schemas.metrics import ServiceMetrics
from schemas.model_event import ModelEvent
from schemas.reasons import Reason
from schemas.telemetry import Aggregate, Clean, DeviceLedger, Gap, Score
from services.runtime.errors import Poison
from services.sink.lines import LineEncoder, Lines

Reader = Callable[[bytes | None], Lines]
"""A record's value -> its lines. Raises `Poison` (`sink_refused`) on what is no record of its topic."""

_STEPS = {
    topics.CLEAN: (Clean, LineEncoder.clean),
    topics.SCORES: (Score, LineEncoder.score),
    topics.AGGREGATES: (Aggregate, LineEncoder.aggregate),
    topics.ANOMALIES: (Anomaly, LineEncoder.anomaly),
    topics.MODEL_EVENTS: (ModelEvent, LineEncoder.model_event),
    topics.GAPS: (Gap, LineEncoder.gap),
    topics.LEDGERS: (DeviceLedger, LineEncoder.ledger),
    topics.METRICS: (ServiceMetrics, LineEncoder.metrics),
}


def readers(prefix: str = "") -> Mapping[str, Reader]:
    """Topic -> its reader; `prefix` stands before every topic's name."""
    encoder = LineEncoder()
    return {
        prefix + topic: _reader(msgspec.json.Decoder(kind).decode, encode.__get__(encoder))
        for topic, (kind, encode) in _STEPS.items()
    }


def _reader(decode: Callable[[bytes], object], encode: Callable[[object], Lines]) -> Reader:
    def read(value: bytes | None) -> Lines:
        if value is None:
            raise Poison(Reason.SINK_REFUSED, "a record without a value")
        try:
            return encode(decode(value))
        except msgspec.DecodeError as error:
            raise Poison(Reason.SINK_REFUSED, f"not a record of its topic: {error}") from error

    return read
