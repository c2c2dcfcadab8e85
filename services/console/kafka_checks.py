"""Is Kafka there, and are Weir's topics as they should be?"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # not in its stubs

from schemas import topics
from schemas.topics import Topic
from services.console.checks import Check, failed, is_loopback, ok, skipped, warning
from services.console.records import check_reachable
from services.runtime import kafka
from services.runtime.errors import Unavailable
from services.runtime.settings import KafkaSettings

_SECONDS: Final = 10.0
_TOPICS: Final = "Kafka topics"


def check_kafka(told: KafkaSettings) -> Iterator[Check]:
    """It answers; topics are there, with one partition count, and kept as the contract says."""
    client = kafka.admin(told)
    try:
        check_reachable(told)
        found = client.list_topics(timeout=_SECONDS)
    except Unavailable:
        yield failed(
            "Kafka",
            f"nobody listens at {told.bootstrap}",
            "start it with `weir up`, or correct WEIR_KAFKA__BOOTSTRAP",
        )
        yield skipped(_TOPICS, "as Kafka is away")
        return
    except KafkaException as error:
        yield failed(
            "Kafka",
            f"no answer at {told.bootstrap} ({error.args[0].str()})",
            "correct WEIR_KAFKA__SECURITY_PROTOCOL and how to prove who we are, or see Kafka's log",
        )
        yield skipped(_TOPICS, "as Kafka is away")
        return
    brokers = len(found.brokers)
    yield from check_transport(told)
    yield ok("Kafka", f"{brokers} broker{'' if brokers == 1 else 's'} at {told.bootstrap}")
    counts = {
        t.name: len(found.topics[told.topic_prefix + t.name].partitions)
        for t in topics.ALL
        if told.topic_prefix + t.name in found.topics
    }
    yield check_partitions(counts)
    if counts:
        yield check_retention(_configurations(client, told, [t for t in topics.ALL if t.name in counts]))


def check_transport(told: KafkaSettings) -> Iterator[Check]:
    """Warns where others could read along, or write."""
    protocol = told.security_protocol
    hosts = [address.strip().rpartition(":")[0] for address in told.bootstrap.split(",")]
    if protocol in ("PLAINTEXT", "SASL_PLAINTEXT") and not all(is_loopback(host) for host in hosts):
        what = "anyone may read and write it, and" if protocol == "PLAINTEXT" else "passwords and"
        yield warning(
            "Kafka transport",
            f"{what} records cross the network in clear text ({protocol})",
            "set WEIR_KAFKA__SECURITY_PROTOCOL=SASL_SSL, or SSL with a certificate; docs/security.md",
        )


def check_partitions(counts: Mapping[str, int]) -> Check:
    """Unequal counts would part a device from its state."""
    missing = [t.name for t in topics.ALL if t.name not in counts]
    if missing:
        return failed(_TOPICS, f"missing: {', '.join(missing)}", "start a service of Weir: it creates them")
    if len(set(counts.values())) != 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        return failed(_TOPICS, f"unequal partition counts ({said})", "give all the same: kafka-topics.sh --alter")
    return ok(_TOPICS, f"all {len(counts)}, with {next(iter(counts.values()))} partitions each")


def check_retention(kept: Mapping[str, Mapping[str, str]]) -> Check:
    """Topic -> its configuration in Kafka, against the contract's; a compacted topic must be."""
    wrong: list[str] = []
    other: list[str] = []
    for topic in topics.ALL:
        there = kept.get(topic.name)
        if there is None:
            continue
        for name, wanted in topic.config().items():
            if name in there and there[name] != wanted:
                (wrong if name == "cleanup.policy" else other).append(
                    f"{topic.name} {name}={there[name]} (not {wanted})"
                )
    if wrong:
        return failed("Kafka retention", "; ".join(wrong), "kafka-configs.sh --alter: with this, state or data is lost")
    if other:
        return warning("Kafka retention", "; ".join(other), "kafka-configs.sh --alter, unless it is meant")
    return ok("Kafka retention", "as the contract says")


def _configurations(client: AdminClient, told: KafkaSettings, asked: list[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, told.topic_prefix + t.name) for t in asked]
    futures: Any = client.describe_configs(resources, request_timeout=_SECONDS)
    return {
        resource.name.removeprefix(told.topic_prefix): {name: str(e.value) for name, e in future.result().items()}
        for resource, future in futures.items()
    }
