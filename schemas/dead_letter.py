"""`telemetry.dead-letter`: what could not be processed, with its bytes, stage and reason."""

import msgspec

from schemas.reasons import Reason, Stage


class DeadLetter(msgspec.Struct, frozen=True, gc=False, tag="dead-letter.v1", tag_field="type"):
    """A message (`sensor` is None) or one reading of it.

    `payload` is the message as it came (base64 in JSON), cut to 64 KiB where it was over the limit; `size` and `sha256`
    are those of the whole. A message stands in the dead letters of its readings up to 4 KiB in all, and in the first at
    any length; in the others `payload` is empty. `topic`, `partition`, `offset` say where the record stands in Kafka,
    `index` which reading of it; `id` is `partition:offset:index` of the raw record (behind `topic:` where that is
    another topic).

    A person who replays a dead letter writes it once more, with the same `id`, an empty `payload` and `replayed_us`
    (unix µs): whoever counts dead letters drops repeats by `id`, as everywhere.
    """

    id: str
    reason: Reason
    stage: Stage
    detail: str
    payload: bytes
    size: int
    mqtt_topic: str
    topic: str
    partition: int
    offset: int
    index: int
    received_us: int
    tenant: str | None = None
    site: str | None = None
    device: str | None = None
    sensor: str | None = None
    sha256: str | None = None
    replayed_us: int | None = None
