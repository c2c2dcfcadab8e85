"""Kafka by SASL_SSL and by client certificate: what the settings make of it, against a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import told_secrets
from bridge_process import free_port
from confluent_kafka import TopicPartition
from secured_kafka import PASSWORD, USER, SecuredKafka
from secured_mosquitto import Authorities

from schemas import topics
from services.runtime import kafka
from services.runtime.errors import Unavailable
from services.runtime.settings import KafkaSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, influx_version: int) -> Iterator[SecuredKafka]:
    authorities = Authorities(tmp_path_factory.mktemp("authorities"))
    running = SecuredKafka(tmp_path_factory.mktemp("kafka"), authorities)
    yield running
    running.stop()


def by_password(broker: SecuredKafka, **more: object) -> dict[str, object]:
    return {
        "bootstrap": broker.sasl,
        "security_protocol": "SASL_SSL",
        "username": USER,
        "password": PASSWORD,
        "ca_file": broker.authorities.weir,
        **more,
    }


def by_certificate(broker: SecuredKafka, **more: object) -> dict[str, object]:
    identity = broker.authorities.service("weir-stream")
    return {
        "bootstrap": broker.mutual,
        "security_protocol": "SSL",
        "ca_file": broker.authorities.weir,
        "cert_file": identity.certificate,
        "key_file": identity.key,
        **more,
    }


@pytest.mark.parametrize(
    ("way", "mechanism"), [(by_password, "SCRAM-SHA-512"), (by_password, "PLAIN"), (by_certificate, "PLAIN")]
)
def test_records_go_in_and_out(broker, way, mechanism):
    prefix = f"{way.__name__.replace('_', '-')}-{mechanism.lower()}."
    settings = KafkaSettings(**way(broker, sasl_mechanism=mechanism, topic_prefix=prefix))
    assert kafka.ensure_topics(settings, deadline_s=60) == settings.partitions
    producer = kafka.producer(settings)
    producer.produce(settings.topic_prefix + topics.RAW, b"21.5", partition=0)
    assert producer.flush(60) == 0
    assert [record.value() for record in kafka.read_to_end(settings, topics.RAW, [0])] == [b"21.5"]
    member = kafka.consumer(settings, group=f"{prefix}group")
    member.subscribe([settings.topic_prefix + topics.RAW])
    end = time.monotonic() + 60
    while (record := member.poll(0.5)) is None or record.error() is not None:
        assert time.monotonic() < end
    member.commit(offsets=[TopicPartition(record.topic(), record.partition(), 1)], asynchronous=False)
    member.close()


def refusals(broker: SecuredKafka) -> dict[str, tuple[dict[str, object], str]]:
    broker.authorities.device("acme/berlin/pump-7")
    stranger = broker.authorities.device("acme/berlin/pump-7")
    return {
        "wrong password": (by_password(broker, password=PASSWORD + "x"), "WEIR_KAFKA__USERNAME"),
        "unknown user": (by_password(broker, username="nobody"), "WEIR_KAFKA__USERNAME"),
        "unknown authority": (by_password(broker, ca_file=broker.authorities.devices), "WEIR_KAFKA__CA_FILE"),
        "wrong host name": (
            by_password(broker, bootstrap=broker.sasl.replace("127.0.0.1", "localhost")),
            "WEIR_KAFKA__CA_FILE",
        ),
        "no certificate": (by_certificate(broker, cert_file=None, key_file=None), "WEIR_KAFKA__CERT_FILE"),
        "a device's certificate": (
            by_certificate(broker, cert_file=stranger.certificate, key_file=stranger.key),
            "__CERT_FILE",
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        "wrong password",
        "unknown user",
        "unknown authority",
        "wrong host name",
        "no certificate",
        "a device's certificate",
    ],
)
def test_what_keeps_us_out_is_named_with_the_fix_and_no_secret(broker, case, capsys):
    options, fix = refusals(broker)[case]
    with pytest.raises(Unavailable) as refused:
        kafka.ensure_topics(KafkaSettings(**options), deadline_s=4)
    text = str(refused.value)
    assert fix.removeprefix("WEIR_KAFKA") in text, text
    assert PASSWORD not in text + "".join(capsys.readouterr())


def test_services_that_kafka_refuses_say_so_without_a_secret(broker, tmp_path):
    away = f"127.0.0.1:{free_port()}"
    told = told_secrets.settings(tmp_path, influx=away, hook=away) | {
        "WEIR_KAFKA__BOOTSTRAP": broker.sasl,
        "WEIR_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "WEIR_KAFKA__CA_FILE": str(broker.authorities.weir),
        "WEIR_MQTT__PORT": away.partition(":")[2],
    }
    for service in told_secrets.SERVICES:
        log = tmp_path / f"{service}.log"
        said = told_secrets.run((service,), told, log, lambda text: "kafka_unavailable" in text)
        assert "WEIR_KAFKA__USERNAME" in said, said
        assert told_secrets.leaks(said) == {}, said
    for tool in told_secrets.TOOLS[:3]:
        said = told_secrets.run(tool, told, tmp_path / f"{tool[0]}.log", lambda _: False)
        assert said
        assert told_secrets.leaks(said) == {}, said
