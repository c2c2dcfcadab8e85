"""Dead letters: what could not be processed, with its bytes, its reason, and where it was refused. Pure."""

from typing import Final

from schemas import raw, topics
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage
from services.runtime.routes import Placed
from services.stream.arrival import Arrival

REPEATED_PAYLOAD_BYTES: Final = 4096
"""Once its dead letters hold so much of a message, the next ones go without: one message must not fill the topic."""

_DECODING: Final = frozenset(
    {
        Reason.NOT_UTF8,
        Reason.MALFORMED,
        Reason.TOO_DEEP,
        Reason.TOO_LARGE,
        Reason.WRONG_SHAPE,
        Reason.NOT_A_NUMBER,
        Reason.BAD_SENSOR,
        Reason.IDENTITY_MISMATCH,
        Reason.UNROUTABLE,
        Reason.BAD_TOPIC,
    }
)


def dead_letter(
    partition: int,
    arrival: Arrival,
    placed: Placed | None,
    reason: Reason,
    detail: str,
    index: int = 0,
    sensor: str | None = None,
) -> DeadLetter:
    """The dead letter of a message, or of reading `index` of it, from a device that was `placed` (or not)."""
    record = arrival.record
    repeated = sensor is not None and arrival.buried * len(record.value) > REPEATED_PAYLOAD_BYTES
    return DeadLetter(
        id=f"{partition}:{record.offset}:{index}",
        reason=reason,
        stage=_stage(arrival, reason),
        detail=detail,
        payload=b"" if repeated else record.value,
        size=arrival.size,
        mqtt_topic=arrival.mqtt_topic,
        topic=topics.RAW,
        partition=partition,
        offset=record.offset,
        index=index,
        received_us=arrival.received_us,
        tenant=None if placed is None else placed.tenant,
        site=None if placed is None else placed.site,
        device=None if placed is None else placed.device,
        sensor=sensor,
        sha256=arrival.sha256,
    )


def _stage(arrival: Arrival, reason: Reason) -> Stage:
    if raw.REJECT in arrival.record.headers:
        return Stage.BRIDGE
    return Stage.DECODE if reason in _DECODING else Stage.CLEAN
