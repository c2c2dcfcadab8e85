"""Does the MQTT broker take us, and does it take strangers too?"""

import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

from paho.mqtt.enums import MQTTErrorCode

from services.console.checks import Check, failed, ok, warning
from services.runtime import mqtt
from services.runtime.settings import MqttSettings

_SECONDS: Final = 10.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def check_mqtt(told: MqttSettings) -> Iterator[Check]:
    """CONNACK for our account; then for nobody's."""
    where = f"{told.host}:{told.port}"
    refused = refusal(told)
    if refused is not None:
        yield failed(
            "MQTT",
            f"{where}: {refused}",
            "start it with `weir up`, or correct WEIR_MQTT__HOST, __PORT, __USERNAME, __TLS",
        )
        return
    who = f"as {told.username}" if told.username else "without a name"
    yield ok("MQTT", f"{where} takes us {who}")
    nobody = told.model_copy(update={"username": None, "password": None})
    if refusal(nobody) is not None:
        yield ok("MQTT access", "strangers are refused")
    elif told.host in _LOOPBACK:
        yield warning("MQTT access", "anyone on this machine may publish", "fine for trying; see docs/deployment.md")
    else:
        yield warning("MQTT access", "anyone may publish", "set allow_anonymous false and accounts: docs/deployment.md")


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
    except (OSError, ValueError) as error:
        return f"no answer ({error})"
    finally:
        client.disconnect()
    if not answers:
        return f"no answer in {_SECONDS:.0f} s"
    return str(answers[0]) if answers[0].is_failure else None
