"""What Mosquitto says of its queue: whether it had to drop messages because nobody fetched them.

Nobody else can tell: a device got its PUBACK, and the bridge never saw the message.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.console.checks import Check, ok, warning
from services.runtime import mqtt
from services.runtime.settings import MqttSettings

DROPPED: Final = "$SYS/broker/publish/messages/dropped"
STORED: Final = "$SYS/broker/store/messages/bytes"
_SECONDS: Final = 3.0


def check_queue(told: MqttSettings) -> Iterator[Check]:
    """Whether the broker has dropped messages since it was started; nothing where it does not say."""
    said = numbers(told)
    if not said:
        return
    dropped, stored_mb = said.get(DROPPED, 0), said.get(STORED, 0) / 1e6
    if dropped:
        yield warning(
            "MQTT queue",
            f"the broker has dropped {dropped:,} messages since its start: its queue for a client was full",
            "a client with a session stayed away for too long (or the bridge, while Kafka was); see docs/limits.md",
        )
    else:
        yield ok("MQTT queue", f"nothing dropped; the broker holds {stored_mb:.1f} MB")


def numbers(told: MqttSettings) -> Mapping[str, int]:
    """The broker's own counters by topic; empty where it has none or does not let us read them."""
    got: dict[str, int] = {}

    def on_connect(client: Any, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe([(DROPPED, 0), (STORED, 0)])

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        if message.payload.isdigit():
            got[message.topic] = int(message.payload)

    client = mqtt.client(told, client_id=f"weir-doctor-{uuid.uuid4().hex[:12]}")
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect_timeout = _SECONDS
    end = time.monotonic() + _SECONDS
    try:
        client.connect(told.host, told.port, keepalive=told.keepalive_s)
        # What was never counted may not be published: the first of the two is enough after a moment.
        while len(got) < 2 and time.monotonic() < (end if not got else end - _SECONDS / 2):
            client.loop(0.1)
    except (OSError, ValueError):
        return {}
    finally:
        client.disconnect()
    return got
