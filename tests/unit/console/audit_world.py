"""A small world to audit: what the stream makes of messages, and what InfluxDB would hold of it."""

from __future__ import annotations

from schemas import influx, topics
from services.console.audit.device import DeviceAudit, Fate
from services.runtime.routes import load_routes
from tests.unit.stream.stream_builders import PartitionPipeline, log, only, pipeline

KEY = "acme/pump-1"
ROUTES = load_routes(None)


class World:
    """Records on the topics of partition 3 and the points that came of them; a test then takes something away."""

    def __init__(self, *messages, stream: PartitionPipeline | None = None) -> None:
        self.stream = pipeline() if stream is None else stream
        self.raw, self.clean, self.letters = [], [], []
        self.points: dict[tuple[str, str, int], float] = {}
        self.send(*messages)

    def send(self, *messages) -> World:
        """Messages that the stream processes and the sink stores."""
        records = log(messages, len(self.raw))
        outputs = self.stream.process(records)
        self.raw += records
        self.clean += only(topics.CLEAN, outputs)
        self.letters += only(topics.DEAD_LETTER, outputs)
        for record in only(topics.CLEAN, outputs):
            at_ns = influx.time_ns(record.event_us, record.seq)
            self.points |= {(record.site, sensor, at_ns): value for sensor, value in record.values.items()}
        return self

    def audit(self, *, fate_of_clean=None, fate_of_raw=None, known=(), whole_life=True) -> DeviceAudit:
        """Everything that is there, put beside each other; a fate is a function of the place on the topic."""
        audit = DeviceAudit(KEY, 3, ROUTES, whole_life=whole_life)
        for letter in self.letters:
            audit.take_letter(letter, letter.topic)
        for offset, record in enumerate(self.clean):
            audit.take_clean(record, offset, fate_of_clean(offset) if fate_of_clean else Fate.JUDGED)
        for record in self.raw:
            audit.take_message(record, fate_of_raw(record.offset) if fate_of_raw else Fate.JUDGED)
        audit.settle(known)
        spans = list(audit.spans())
        for (site, sensor, at_ns), value in self.points.items():
            if any(span.first_ns <= at_ns <= span.last_ns for span in spans):
                audit.take_point(site, sensor, at_ns, value)
        audit.close()
        return audit
