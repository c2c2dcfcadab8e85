"""The AsyncAPI 3.0 document: servers, channels, messages, and what each service sends and receives."""

import re
from collections.abc import Iterable
from typing import Any, Final

from schemas import mqtt, raw, topics
from schemas.alarm import AlarmEvent
from schemas.catalogue import FLOWS, RECORDS, Flow, Record, tag_of
from schemas.json_schema import MESSAGE_TAG, Schema, definitions, message_forms
from schemas.reasons import Reason

_BINARY: Final = "application/octet-stream"
_JSON: Final = "application/json"
_DEVICES: Final = "devices"
_SCHEMAS: Final = "#/components/schemas/{name}"

RAW_HEADERS: Final[Schema] = {
    "type": "object",
    "properties": {
        raw.MQTT_TOPIC: {"type": "string", "description": "Topic that the device published on."},
        raw.MQTT_DUP: {"type": "string", "enum": ["0", "1"], "description": "1: the broker marked it a redelivery."},
        raw.RECEIVED_AT: {"type": "string", "pattern": "^[0-9]+$", "description": "Bridge's clock, unix µs."},
        raw.ROUTE: {"type": "string", "description": "Name of the route that placed the message; names its decoder."},
        raw.CONTENT_TYPE: {"type": "string", "description": "As the device declared it (MQTT 5)."},
        raw.TRACEPARENT: {"type": "string", "description": "W3C trace context, where the device sent one."},
        raw.REJECT: {
            "type": "string",
            "enum": [Reason.BAD_TOPIC, Reason.TOO_LARGE, Reason.UNROUTABLE],
            "description": "The bridge refused the message for this reason; the stream writes the dead letter.",
        },
        raw.REJECT_DETAIL: {"type": "string", "description": "The refusal in words, for a person."},
        raw.SIZE: {"type": "string", "pattern": "^[0-9]+$", "description": "Bytes as it came, where it was cut."},
        raw.SHA256: {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Digest as it came, where cut."},
        raw.REPLAY_OF: {
            "type": "string",
            "pattern": "^[0-9]+:[0-9]+:[0-9]+$",
            "description": "Id of the dead letter whose message a person sent again (`weir dead-letter replay`).",
        },
        raw.OPERATOR_COMMAND: {
            "type": "string",
            "description": "The record is no message but an operator's command to the device's models (`weir model`).",
        },
        raw.REPLAY_READINGS: {
            "type": "string",
            "pattern": "^[0-9]+(,[0-9]+)*$",
            "description": "With replay-of: indexes of the readings that were dead letters; absent: the whole message.",
        },
    },
    "required": [raw.MQTT_TOPIC, raw.MQTT_DUP, raw.RECEIVED_AT],
}

MQTT_CHANNELS: Final[dict[str, tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]] = {
    "mqtt.telemetry": (
        mqtt.TELEMETRY_ROUTE,
        "Where a device publishes its messages, QoS 1.",
        MESSAGE_TAG,
        (_DEVICES,),
        ("bridge",),
    ),
    "mqtt.status": (
        mqtt.STATUS_ROUTE,
        "Where a device's status stands, retained; also its last will.",
        "status-text",
        (_DEVICES,),
        ("bridge",),
    ),
    "mqtt.alarms": (
        mqtt.alarms_topic("{tenant}", "{site}", "{device}"),
        "Where Weir publishes a device's alarms.",
        tag_of(AlarmEvent),
        ("alerts",),
        (),
    ),
}
"""Channel -> (address, summary, message, senders, receivers)."""


def document(version: str) -> dict[str, Any]:
    """The whole document, complete in itself; `version` is that of the contract's release."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:weir",
        "info": {
            "title": "Weir",
            "version": version,
            "description": "Telemetry by MQTT, cleaned, aggregated and scored on Kafka. Sets of words (enum) may grow: "
            "a consumer takes a member that it does not know for a new one, and ignores fields that it does not know.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {
            "mqtt": {"host": "127.0.0.1:1883", "protocol": "mqtt", "protocolVersion": "5"},
            "kafka": {"host": "127.0.0.1:9092", "protocol": "kafka"},
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "schemas": definitions(RECORDS, _SCHEMAS) | message_forms(_SCHEMAS),
            "messages": _messages(),
        },
    }


def _channels() -> dict[str, Any]:
    described = {
        key: {
            "address": address,
            "summary": summary,
            "servers": [{"$ref": "#/servers/mqtt"}],
            "parameters": {name: {"description": f"{name} id"} for name in re.findall(r"{(\w+)}", address)},
            "messages": _of_components([message]),
        }
        for key, (address, summary, message, _, _) in MQTT_CHANNELS.items()
    }
    return described | {flow.topic: _kafka_channel(flow) for flow in FLOWS}


def _kafka_channel(flow: Flow) -> dict[str, Any]:
    kept = next(topic for topic in topics.ALL if topic.name == flow.topic)
    configuration: dict[str, Any] = {"cleanup.policy": ["compact" if kept.compacted else "delete"]}
    if not kept.compacted:
        configuration |= {"retention.ms": kept.retention_ms, "retention.bytes": kept.retention_bytes}
    return {
        "address": flow.topic,
        "summary": flow.summary,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": _of_components(_message_names(flow)),
        "bindings": {"kafka": {"topicConfiguration": configuration, "bindingVersion": "0.5.0"}},
    }


def _message_names(flow: Flow) -> list[str]:
    return [tag_of(record) for record in flow.records] or [flow.topic]


def _of_components(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _messages() -> dict[str, Any]:
    found: dict[str, Any] = {
        MESSAGE_TAG: {
            "name": MESSAGE_TAG,
            "title": "Message",
            "contentType": _JSON,
            "payload": {"$ref": _SCHEMAS.format(name="Message")},
            "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
        },
        "status-text": {
            "name": "status-text",
            "title": "Status",
            "summary": "Any text; what is over 1 KiB is cut.",
            "contentType": "text/plain",
            "payload": {"type": "string"},
        },
    }
    for flow in FLOWS:
        found |= {tag_of(record): _record_message(record, flow) for record in flow.records}
        if not flow.records:
            found[flow.topic] = _bytes_message(flow)
    return found


def _record_message(record: Record, flow: Flow) -> dict[str, Any]:
    return {
        "name": tag_of(record),
        "title": record.__name__,
        "contentType": _JSON,
        "payload": {"$ref": _SCHEMAS.format(name=record.__name__)},
        "bindings": _keyed(flow),
    }


def _bytes_message(flow: Flow) -> dict[str, Any]:
    return {
        "name": flow.topic,
        "title": flow.topic,
        "summary": flow.summary,
        "contentType": _BINARY,
        "payload": {"description": "Bytes."},
        **({"headers": RAW_HEADERS} if flow.topic == topics.RAW else {}),
        "bindings": _keyed(flow),
    }


def _keyed(flow: Flow) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": flow.key}, "bindingVersion": "0.5.0"}}


def _operations() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (_, _, message, senders, receivers) in MQTT_CHANNELS.items():
        found |= _operations_on(key, [message], senders, receivers)
    for flow in FLOWS:
        found |= _operations_on(flow.topic, _message_names(flow), flow.writers, flow.readers)
    return found


def _operations_on(
    channel: str, messages: list[str], senders: Iterable[str], receivers: Iterable[str]
) -> dict[str, Any]:
    return {
        f"{who}-{action}-{channel}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
            "tags": [{"name": who}],
        }
        for action, parties in (("send", senders), ("receive", receivers))
        for who in parties
    }
