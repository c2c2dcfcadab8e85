"""`weir stream --rebuild`: forget the state, so that the next workers make it anew from the beginning of telemetry.raw.

The same log gives the same records under the same ids, so what comes out a second time changes nothing downstream, as
far back as telemetry.raw still reaches. For state that this Weir cannot read, and for a raw topic that was made anew.
"""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas import topics
from services.runtime import kafka, logging
from services.runtime.errors import ConfigurationError, Unavailable
from services.runtime.settings import StreamSettings, load

log = logging.get("stream")

_ANSWER_S = 30.0
_MARGIN_S = 5.0


def run() -> None:
    """Forget the stream's commits, then its state, and leave.

    In that order: where this ends half-way, what is left of the state is whole and takes no record twice.

    Raises:
        ConfigurationError: A stream worker is still running.
        Unavailable: Kafka does not answer.
    """
    settings = load(StreamSettings)
    logging.configure("stream", level=settings.log.level, form=settings.log.format)
    partitions = kafka.ensure_topics(settings.kafka)
    try:
        _forget_commits(settings)
        keys = _forget_state(settings, partitions)
    except KafkaException as error:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap}: {error.args[0].str()}") from error
    log.info("state_forgotten", keys=keys, then="start the stream workers: they read telemetry.raw from its beginning")


def _forget_commits(settings: StreamSettings) -> None:
    group = settings.stream.group
    admin = kafka.admin(settings.kafka)
    # Of a group with members librdkafka tries the removal again until its time is over.
    _wait_until_empty(admin, settings)
    try:
        admin.delete_consumer_groups([group], request_timeout=_ANSWER_S)[group].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise


def _wait_until_empty(admin: AdminClient, settings: StreamSettings) -> None:
    group, session_s = settings.stream.group, settings.stream.session_timeout_ms / 1000
    until = time.monotonic() + session_s + _MARGIN_S
    said = False
    while members := admin.describe_consumer_groups([group], request_timeout=_ANSWER_S)[group].result().members:
        if time.monotonic() > until:
            raise ConfigurationError(
                f"{len(members)} stream workers are running (group {group}): stop all of them, then run this again"
            )
        if not said:
            log.info(
                "waits_for_workers", group=group, why=f"who ended at once leaves its group after {session_s:.0f} s"
            )
            said = True
        time.sleep(0.5)


def _forget_state(settings: StreamSettings, partitions: int) -> int:
    """Removes every key; returns how many there were."""
    keys: set[tuple[int, bytes]] = set()
    for message in kafka.read_to_end(settings.kafka, topics.STREAM_STATE, range(partitions)):
        key = (message.partition() or 0, message.key() or b"")
        if message.value() is None:
            keys.discard(key)
        else:
            keys.add(key)
    producer = kafka.producer(settings.kafka)
    for partition, name in sorted(keys):
        while True:
            try:
                producer.produce(settings.kafka.topic_prefix + topics.STREAM_STATE, None, name, partition)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    if producer.flush(_ANSWER_S):
        raise Unavailable("Kafka did not take the removals in time; run this again")
    return len(keys)
