"""Does the MQTT broker take us, does it take strangers too, and who can read along on the way?"""

import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

from paho.mqtt.enums import MQTTErrorCode

from services.console.checks import Check, failed, is_loopback, ok, skipped, warning
from services.runtime import mqtt
from services.runtime.settings import MqttSettings

_SECONDS: Final = 10.0
_ACCESS: Final = "MQTT access"


def check_mqtt(told: MqttSettings) -> Iterator[Check]:
    """CONNACK for our account; then for nobody's."""
    where = f"{told.host}:{told.port}"
    refused = refusal(told)
    if refused is not None:
        fix = "start it with `weir up`, or correct WEIR_MQTT__HOST, __PORT, __USERNAME, __TLS"
        yield failed("MQTT", f"{where}: {refused}", "" if "WEIR_MQTT__" in refused else fix)
        yield skipped(_ACCESS, "as MQTT is away")
        return
    who = f"as {told.username}" if told.username else "without a name"
    yield ok("MQTT", f"{where} takes us {who}")
    nobody = {"username": None, "password": None, "password_file": None, "cert_file": None, "key_file": None}
    yield from check_access(told, takes_strangers=refusal(told.model_copy(update=nobody)) is None)


def check_access(told: MqttSettings, *, takes_strangers: bool) -> Iterator[Check]:
    """Warns where anyone may publish, and where others can read along."""
    if not takes_strangers:
        yield ok(_ACCESS, "strangers are refused")
    elif is_loopback(told.host):
        yield warning(_ACCESS, "anyone on this machine may publish as any device", "fine for trying; docs/security.md")
    else:
        yield warning(
            _ACCESS, "anyone may publish as any device", "set allow_anonymous false and accounts: docs/security.md"
        )
    if not told.tls and not is_loopback(told.host):
        yield warning(
            "MQTT transport",
            f"passwords and data cross the network to {told.host} in clear text",
            "give the broker a TLS listener and set WEIR_MQTT__TLS: docs/security.md",
        )


def refusal(told: MqttSettings) -> str | None:
    """Why the broker does not take us; None: it did (and we said goodbye)."""
    answers: list[Any] = []
    client = mqtt.client(told, client_id=f"weir-doctor-{uuid.uuid4().hex[:12]}")
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
    client.connect_timeout = _SECONDS
    end = time.monotonic() + _SECONDS
    try:
        client.connect(told.host, told.port, keepalive=told.keepalive_s)
        while not answers and time.monotonic() < end:
            if client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS and not answers:
                return "it closed the connection"
    except ValueError as error:
        return f"no answer ({error})"
    except OSError as error:
        return f"no answer ({mqtt.failure(error).why})"
    finally:
        client.disconnect()
    if not answers:
        return f"no answer in {_SECONDS:.0f} s"
    return mqtt.refused(str(answers[0]), told.username).why if answers[0].is_failure else None
