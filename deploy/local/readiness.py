"""Knows when the servers do their work: each probe speaks its server's own protocol, a listening port is not enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import paho.mqtt.client as mqtt
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion

from deploy.local.ports import LOOPBACK

_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.1


class NotYet(Exception):
    """A server is not ready; the message says what it answered."""


Probe = Callable[[], None]


def wait_ready(probes: Mapping[str, Probe], deadline_s: float) -> dict[str, str]:
    """Repeats each probe until it raises no `NotYet`. Returns those that still did at the deadline: name -> reason."""
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
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        end = time.monotonic() + _PROBE_SECONDS
        try:
            client.connect(LOOPBACK, port)
            # It counts as connected once the server has accepted it.
            while not client.is_connected():
                result = client.loop(_POLL_SECONDS)
                if result != mqtt.MQTT_ERR_SUCCESS or time.monotonic() > end:
                    raise NotYet(f"it takes connections, but doesn't accept clients ({mqtt.error_string(result)})")
        except OSError as error:
            raise NotYet(str(error)) from error
        finally:
            client.disconnect()

    return probe
