"""Knows when the servers do their work: each probe speaks its server's own protocol, a listening port is not enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import paho.mqtt.client as mqtt
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from deploy.local.ports import LOOPBACK

_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.1


class NotYet(Exception):
    """A server is not ready; the message says what it answered."""


Probe = Callable[[], None]


def wait_ready(probes: Mapping[str, Probe], deadline_s: float) -> dict[str, str]:
    """Repeats each probe until it no longer raises `NotYet`. Returns those that still did at the deadline: name -> reason."""
    end = time.monotonic() + deadline_s
    waiting = dict(probes)
    while True:
        reasons: dict[str, str] = {}
        for name, probe in list(waiting.items()):
            try:
                probe()
            except NotYet as error:
                reasons[name] = str(error)
            else:
                del waiting[name]
        if not waiting or time.monotonic() >= end:
            return reasons
        time.sleep(_POLL_SECONDS)


def kafka_probe(bootstrap: str) -> Probe:
    """Kafka answers a metadata request, names a live broker and a controller."""
    admin = AdminClient(
        {
            "bootstrap.servers": bootstrap,
            # Refused connections are what one waits through: no news, and no growing pause between tries.
            "log_level": 0,
            "reconnect.backoff.max.ms": 200,
        }
    )

    def probe() -> None:
        try:
            metadata = admin.list_topics(timeout=_PROBE_SECONDS)
        except KafkaException as error:
            raise NotYet(error.args[0].str()) from error
        if not metadata.brokers or metadata.controller_id < 0:
            raise NotYet("it answers, but has no active broker and controller yet")

    return probe


def mqtt_probe(port: int) -> Probe:
    """Mosquitto accepts a client: CONNACK, success."""

    def probe() -> None:
        answered = threading.Event()
        answers: list[ReasonCode] = []

        def on_connect(
            client: mqtt.Client,
            userdata: object,
            flags: mqtt.ConnectFlags,
            reason_code: ReasonCode,
            properties: object,
        ) -> None:
            answers.append(reason_code)
            answered.set()

        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = on_connect
        try:
            client.connect(LOOPBACK, port)
        except OSError as error:
            raise NotYet(str(error)) from error
        client.loop_start()
        try:
            if not answered.wait(_PROBE_SECONDS):
                raise NotYet("it takes connections, but doesn't answer")
            if answers[0].is_failure:
                raise NotYet(f"it refuses clients: {answers[0]}")
            client.disconnect()
        finally:
            client.loop_stop()

    return probe
