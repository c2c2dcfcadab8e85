"""Kafka clients, set up the one way that Weir's guarantees need, and the topics.

Producers are idempotent with acks=all and never give up a record on their own (`message.timeout.ms=0`): an outage shows
as a full queue, not as a lost record. Consumers commit by hand only.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its stubs lack the class
from confluent_kafka.cimpl import NewTopic

from schemas import topics
from services.runtime import logging
from services.runtime.backoff import Backoff
from services.runtime.errors import ConfigurationError, Unavailable
from services.runtime.settings import KafkaSettings

log = logging.get("kafka")

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # nor its makers
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # as above
_ASK_S = 3.0
"""One try to reach Kafka; short, so that a service which waits for it can be stopped."""

QUEUE_BYTES = 256 * 1024 * 1024


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """What every client needs: where the brokers are, and how to prove who we are."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        "log_level": 2,
    }
    if settings.security_protocol.startswith("SASL"):
        if settings.username is None or settings.password is None:
            raise ConfigurationError("WEIR_KAFKA__USERNAME and WEIR_KAFKA__PASSWORD are needed with SASL")
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.username,
            "sasl.password": settings.password.get_secret_value(),
        }
    for name, path in (
        ("ssl.ca.location", settings.ca_file),
        ("ssl.certificate.location", settings.cert_file),
        ("ssl.key.location", settings.key_file),
    ):
        if path is not None:
            config[name] = str(path)
    return config


def producer(
    settings: KafkaSettings,
    *,
    linger_ms: float = 5.0,
    queue_messages: int = 100_000,
    queue_bytes: int = QUEUE_BYTES,
    tell_only_failures: bool = False,
) -> Producer:
    """An idempotent producer.

    `produce` raises BufferError at `queue_messages` or `queue_bytes`: poll, and stop reading meanwhile. With
    `tell_only_failures` a record that is durable calls nobody back.
    """
    return Producer(
        client_config(settings)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": topics.PARTITIONER,
            "message.timeout.ms": 0,
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": queue_messages,
            "queue.buffering.max.kbytes": max(1, queue_bytes // 1024),
            "message.max.bytes": 8 * 1024 * 1024,
            "delivery.report.only.error": tell_only_failures,
        }
    )


def consumer(settings: KafkaSettings, *, group: str, session_timeout_ms: int = 10_000, **more: Any) -> Consumer:
    """A consumer of `group` that starts at the earliest record and commits only by hand."""
    return Consumer(
        client_config(settings)
        | {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_timeout_ms,
            # A member learns of a rebalance by its next heartbeat, and partitions stand until it does.
            "heartbeat.interval.ms": min(1_000, session_timeout_ms // 4),
            "fetch.message.max.bytes": 8 * 1024 * 1024,
            "queued.max.messages.kbytes": 32 * 1024,
        }
        | more
    )


def reader(settings: KafkaSettings, **more: Any) -> Consumer:
    """A consumer outside any group, for `assign`: it commits nothing."""
    return consumer(settings, group="weir-reader", **{"enable.partition.eof": True} | more)


def admin(settings: KafkaSettings) -> AdminClient:
    """An admin client."""
    return AdminClient(client_config(settings))


def ensure_topics(
    settings: KafkaSettings,
    *,
    deadline_s: float = 60.0,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Create the topics that are missing and check that all have one partition count; returns that count.

    Waits for an absent Kafka with backoff, and says so once. Returns 0 where `should_stop` came first.

    Raises:
        Unavailable: Kafka did not answer by the deadline.
        ConfigurationError: Topics have unequal partition counts, which would part a device from its state.
    """
    complaints: deque[KafkaError] = deque(maxlen=20)
    client = AdminClient(client_config(settings) | {"error_cb": complaints.append})
    backoff = Backoff(limit_s=2.0)
    deadline = time.monotonic() + deadline_s
    away = False
    while not should_stop():
        try:
            partitions = _create_and_check(client, settings)
        except (KafkaException, TimeoutError) as error:
            _raise_if_hopeless(error)
            client.poll(0)
            why = _refusal(complaints, settings) or str(error)
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka at {settings.bootstrap} did not answer: {why}") from error
            if not away:
                log.warning("kafka_unavailable", bootstrap=settings.bootstrap, error=why)
                away = True
            time.sleep(backoff.next_s())
        else:
            if away:
                log.info("kafka_available", bootstrap=settings.bootstrap)
            return partitions
    return 0


_HOPELESS = frozenset(
    {
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    }
)


_REFUSED: Final = {
    KafkaError._AUTHENTICATION: "correct WEIR_KAFKA__USERNAME, __PASSWORD and __SASL_MECHANISM",
    KafkaError._SSL: "correct WEIR_KAFKA__CA_FILE, __CERT_FILE, __KEY_FILE or the name in __BOOTSTRAP",
}
"""What librdkafka says of a refused connection, beside the time-out of whatever was asked -> the fix."""


def _refusal(complaints: Sequence[KafkaError], settings: KafkaSettings) -> str | None:
    """Why Kafka does not let us in, with the fix; None: nothing says that it is more than away."""
    for complaint in complaints:
        if complaint.code() in _REFUSED:
            return f"{complaint.str()}; {_REFUSED[complaint.code()]}"
    if "SSL" in settings.security_protocol and complaints and "refused" not in complaints[-1].str():
        # With TLS 1.3 a broker that does not like our certificate hangs up after the handshake.
        return f"{complaints[-1].str()}; it may want WEIR_KAFKA__CERT_FILE and __KEY_FILE, of an authority it trusts"
    return None


def _raise_if_hopeless(error: Exception) -> None:
    code = error.args[0].code() if isinstance(error, KafkaException) else None
    if code in _HOPELESS:
        raise ConfigurationError(f"Kafka refuses to make the topics: {error}; see WEIR_KAFKA__REPLICATION and its ACLs")


def _create_and_check(client: AdminClient, settings: KafkaSettings) -> int:
    prefix = settings.topic_prefix
    there = client.list_topics(timeout=_ASK_S).topics
    missing = [t for t in topics.ALL if prefix + t.name not in there]
    ours = [prefix + t.name for t in topics.ALL]
    counts = {name: len(there[name].partitions) for name in ours if name in there}
    partitions = next(iter(counts.values()), settings.partitions)
    if missing:
        made = client.create_topics(
            [NewTopic(prefix + t.name, partitions, settings.replication, config=t.config()) for t in missing]
        )
        for future in made.values():
            try:
                future.result(15)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        log.info("topics_created", topics=sorted(made), partitions=partitions)
    there = client.list_topics(timeout=_ASK_S).topics
    absent = [name for name in ours if name not in there or not there[name].partitions]
    if absent:
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"not there yet: {absent}"))
    counts = {name: len(there[name].partitions) for name in ours}
    if len(set(counts.values())) != 1:
        raise ConfigurationError(
            f"topics have unequal partition counts ({counts}); give all the same (kafka-topics --alter), or remove them"
        )
    return counts[prefix + topics.RAW]


def wait_for_topics(settings: KafkaSettings, should_stop: Callable[[], bool]) -> int:
    """`ensure_topics` for as long as it takes; 0 where `should_stop` came first."""
    return ensure_topics(settings, deadline_s=math.inf, should_stop=should_stop)


def topic_id(settings: KafkaSettings, topic: str) -> str:
    """Kafka's id of a topic: another one after the topic was removed and created again."""
    client = admin(settings)
    described = client.describe_topics(TopicCollection([settings.topic_prefix + topic]))
    return str(described[settings.topic_prefix + topic].result(30).topic_id)


def bounds(settings: KafkaSettings, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Partition -> (first offset, next offset), of one topic (named without its prefix).

    Raises:
        KafkaException: Kafka did not answer.
    """
    places = [TopicPartition(settings.topic_prefix + topic, partition) for partition in partitions]
    return {partition: at for (_, partition), at in bounds_of(settings, places).items()}


def bounds_of(
    settings: KafkaSettings, places: Iterable[TopicPartition], *, ask_s: float = 30.0
) -> dict[tuple[str, int], tuple[int, int]]:
    """(Topic, partition) -> (first offset, next offset).

    Asked by a client of its own: a consumer that is fetching answers only when its fetch has ended (0.5 s). A new one
    each time: after Kafka was killed an old one refuses for minutes, with an old leader epoch.

    Raises:
        KafkaException: Kafka did not answer within `ask_s`.
    """
    asked = [TopicPartition(at.topic, at.partition) for at in places]
    client = admin(settings)
    first = client.list_offsets(dict.fromkeys(asked, _EARLIEST), request_timeout=ask_s)
    following = client.list_offsets(dict.fromkeys(asked, _LATEST), request_timeout=ask_s)
    return {(at.topic, at.partition): (first[at].result().offset, following[at].result().offset) for at in asked}


def read_to_end(
    settings: KafkaSettings, topic: str, partitions: Iterable[int], since_ms: Mapping[int, int] | None = None
) -> Iterator[Message]:
    """All records of some partitions up to where they end now; the order holds within each partition.

    The true end: what an open transaction hides is read too. `since_ms`: partition -> unix ms of the first record that
    is wanted; all, where it is not named.

    Raises:
        KafkaException: A partition cannot be read.
    """
    client = reader(settings, **{"isolation.level": "read_uncommitted"})
    try:
        name = settings.topic_prefix + topic
        there = bounds(settings, topic, partitions)
        starts = {p: first for p, (first, _) in there.items()} | _offsets_since(settings, name, since_ms or {})
        ends = {p: end for p, (_, end) in there.items() if starts[p] < end}
        client.assign([TopicPartition(name, p, starts[p]) for p in ends])
        while ends:
            for message in client.consume(2000, 0.05):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
            places = client.position([TopicPartition(name, p) for p in ends])
            ends = {at.partition: ends[at.partition] for at in places if at.offset < ends[at.partition]}
    finally:
        client.close()


def _offsets_since(settings: KafkaSettings, name: str, since_ms: Mapping[int, int]) -> dict[int, int]:
    """Partition -> offset of the first record from a time on, beyond every end where there is none."""
    asked = {TopicPartition(name, p): OffsetSpec.for_timestamp(ms) for p, ms in since_ms.items()}
    if not asked:
        return {}
    client = admin(settings)  # named: without it, nothing would be answered
    answers = client.list_offsets(asked, request_timeout=30)
    found = {at.partition: future.result().offset for at, future in answers.items()}
    return {p: offset if offset >= 0 else sys.maxsize for p, offset in found.items()}
