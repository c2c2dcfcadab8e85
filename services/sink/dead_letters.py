"""What InfluxDB can't hold, as records on the dead-letter topic. Pure."""

import re
from typing import Final

from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage
from services.sink.batches import Record

_TAG: Final = re.compile(r",(tenant|site|device|sensor)=((?:\\.|[^\\, ])*)")
_ESCAPED: Final = re.compile(r"\\(.)")
_LINE_KEPT: Final = 1000
"""Characters of a refused line that the dead letter quotes."""


def of_line(record: Record, index: int, line: bytes, why: str) -> DeadLetter:
    """The dead letter of a line that InfluxDB refused; `index` is which of its record's lines it is."""
    text = line.decode()
    tags = {name: _ESCAPED.sub(r"\1", value) for name, value in _TAG.findall(text)}
    return _letter(record, index, f"{why}; line: {text[:_LINE_KEPT]}", tags)


def of_record(record: Record, why: str) -> DeadLetter:
    """The dead letter of a record that is no record of its topic; its key tells whose it is."""
    tenant, slash, device = (record.key() or b"").decode("utf-8", "replace").partition("/")
    ours = slash and record.key() != topics.UNPLACED_KEY
    return _letter(record, 0, why, {"tenant": tenant, "device": device} if ours else {})


def _letter(record: Record, index: int, detail: str, tags: dict[str, str]) -> DeadLetter:
    payload = record.value() or b""
    return DeadLetter(
        id=f"{record.topic()}:{record.partition()}:{record.offset()}:{index}",
        reason=Reason.SINK_REFUSED,
        stage=Stage.SINK,
        detail=detail,
        payload=payload,
        size=len(payload),
        mqtt_topic="",
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        index=index,
        received_us=record.timestamp()[1] * 1000,
        tenant=tags.get("tenant"),
        site=tags.get("site"),
        device=tags.get("device"),
        sensor=tags.get("sensor"),
    )
