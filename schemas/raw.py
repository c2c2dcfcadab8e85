"""`telemetry.raw`: one record for each MQTT message that the bridge received.

The value is the untouched payload; what the bridge knows stands in the headers. A message that the bridge itself
refuses (no route places it, its topic has a bad id, it is too large) is on the topic too, under `UNPLACED_KEY` or its
device's key, with the header `reject`: so the stream writes every dead letter, and one ledger counts every message.
"""

from typing import Final

MQTT_TOPIC: Final = "mqtt-topic"
MQTT_DUP: Final = "mqtt-dup"
"""b"1" where the MQTT broker marked the message as a redelivery, else b"0"."""
RECEIVED_AT: Final = "received-at"
"""Unix µs by the bridge's clock, in ASCII digits."""
ROUTE: Final = "route"
CONTENT_TYPE: Final = "content-type"
TRACEPARENT: Final = "traceparent"
REJECT: Final = "reject"
"""Dead-letter reason given by the bridge: `unroutable`, `bad_topic` or `too_large`."""
REJECT_DETAIL: Final = "reject-detail"
SIZE: Final = "size"
"""Bytes of the payload as it came; only where the value was cut (`too_large`)."""
SHA256: Final = "sha256"
"""Hex digest of the payload as it came; only where the value was cut."""
REPLAY_OF: Final = "replay-of"
"""Id of the dead letter (`partition:offset:index`) whose message a person sent again; the other headers are those of
the first time."""
REPLAY_READINGS: Final = "replay-readings"
"""Beside `replay-of`: indexes of the readings that were dead letters, `0,2`; absent where the whole message was one."""
OPERATOR_COMMAND: Final = "operator-command"
"""On a record that is no message of a device but a person's command to its models: the value is an `OperatorCommand`
(`schemas.operator`), `received-at` is when the command was given. Only who may produce to Kafka can write it: the
bridge makes all headers itself, and this one never."""

TOO_LARGE_KEPT_BYTES: Final = 64 * 1024
