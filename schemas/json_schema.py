"""JSON Schema 2020-12 of records and of what devices may send: pure functions from our structs to plain data."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from schemas import mqtt
from schemas.catalogue import Record, tag_of

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MESSAGE_TAG: Final = "message.v1"
"""What devices may send by MQTT."""

_WHOLE_NUMBER: Final = {"type": "integer", "minimum": 0}
_SENSOR_NAME: Final = f"^{mqtt.SENSOR.pattern}$"


def definitions(records: Iterable[Record], ref_template: str) -> dict[str, Schema]:
    """Each record, and each struct and enum that they use, by class name; references follow `ref_template`."""
    _, components = msgspec.json.schema_components(records, ref_template=ref_template)
    return {name: _tidied(component) for name, component in sorted(components.items())}


def record_schema(record: Record) -> Schema:
    """The record's own document, complete in itself."""
    inner = definitions([record], "#/$defs/{name}")
    own = inner.pop(record.__name__)
    return _document(tag_of(record), own) | ({"$defs": inner} if inner else {})


def message_schema() -> Schema:
    """The three forms of an MQTT payload that give no dead letter because of their shape."""
    forms = message_forms("#/$defs/{name}")
    return _document(MESSAGE_TAG, forms.pop("Message")) | {"$defs": forms}


def message_forms(ref_template: str) -> dict[str, Schema]:
    """The forms by name; `Message` is any of them."""

    def ref(name: str) -> Schema:
        return {"$ref": ref_template.format(name=name)}

    about: Schema = {
        "ts": ref("DeviceTime"),
        "seq": {
            "anyOf": [_WHOLE_NUMBER, {"type": "null"}],
            "description": "Counts the device's messages; with it, lost ones are found and repeats told apart.",
        },
        **{
            name: {"type": "string", "description": f"Where given, it must be the {name} of the MQTT topic."}
            for name in ("tenant", "site", "device")
        },
    }
    return {
        "Message": {
            "title": "Message",
            "description": "The payload of one MQTT publish on a telemetry topic, JSON in UTF-8. Unknown fields of the "
            "object form are ignored; those of the flat form are sensors.",
            "anyOf": [ref("ObjectMessage"), ref("FlatMessage"), ref("ArrayMessage")],
        },
        "ObjectMessage": {
            "title": "ObjectMessage",
            "description": "Readings of one moment under `values`.",
            "type": "object",
            "properties": about | {"values": ref("Values")},
            "required": ["values"],
        },
        "FlatMessage": {
            "title": "FlatMessage",
            "description": "Readings of one moment beside `ts` and `seq`.",
            "type": "object",
            "properties": about,
            "propertyNames": {"pattern": _SENSOR_NAME},
            "additionalProperties": ref("Value"),
            "not": {"required": ["values"]},
        },
        "ArrayMessage": {
            "title": "ArrayMessage",
            "description": "Several moments in one publish, each with its own `ts` and `seq`.",
            "type": "array",
            "items": {"anyOf": [ref("ObjectMessage"), ref("FlatMessage")]},
            "minItems": 1,
        },
        "Values": {
            "title": "Values",
            "description": "Sensor -> value in the sensor's unit.",
            "type": "object",
            "propertyNames": {"pattern": _SENSOR_NAME},
            "additionalProperties": ref("Value"),
            "minProperties": 1,
        },
        "Value": {
            "title": "Value",
            "description": "A finite number; null: missing; a boolean only where the device type declares it (0 or 1).",
            "type": ["number", "null", "boolean"],
        },
        "DeviceTime": {
            "title": "DeviceTime",
            "description": "The device's clock: seconds, ms, µs or ns since 1970 UTC, told apart by magnitude, or "
            "ISO 8601. Absent, null or 0: the time of receipt. Older than 7 days or negative: refused.",
            "type": ["number", "string", "null"],
            "minimum": 0,
        },
    }


def _document(tag: str, schema: Mapping[str, Any]) -> Schema:
    return {"$schema": DIALECT, "$id": f"weir:{tag}", **schema}


def _tidied(node: Any) -> Any:
    """Descriptions without the indentation of our source; an enum of one as a constant."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidied(value) for key, value in node.items()}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = inspect.cleandoc(tidy["description"])
    if len(tidy.get("enum", ())) == 1:
        tidy["const"] = tidy.pop("enum")[0]
    return tidy
