import pytest
from jsonschema import Draft202012Validator

from schemas.anomaly import Anomaly
from schemas.json_schema import message_schema, record_schema
from schemas.telemetry import Clean

MESSAGE = Draft202012Validator(message_schema())


def test_a_record_carries_its_identity_and_its_docstring():
    schema = record_schema(Clean)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "weir:clean.v1"
    assert schema["title"] == "Clean"
    assert schema["description"].startswith("The good readings of one message")
    assert "\n " not in schema["description"]
    assert schema["properties"]["type"] == {"const": "clean.v1"}


def test_a_record_is_complete_in_itself():
    schema = record_schema(Anomaly)
    assert set(schema["$defs"]) == {"AnomalyPhase", "Culprit", "Severity"}


@pytest.mark.parametrize(
    "message",
    [
        {"values": {"temperature": 21.5}},
        {"values": {"a/b:c.d-e_F9": None}, "ts": "2026-10-21T12:00:00Z", "seq": 0, "firmware": {"major": 2}},
        {"temperature": 21.5, "ts": 0, "seq": None},
        [{"values": {"temperature": 1}}, {"temperature": True}],
    ],
)
def test_a_message_in_any_form_fits(message):
    MESSAGE.validate(message)


@pytest.mark.parametrize(
    "message",
    [
        21.5,
        "21.5",
        [],
        [21.5],
        {"values": {}},
        {"values": [21.5]},
        {"values": {"temperature": "21.5"}},
        {"values": {"temperature": {"value": 21.5}}},
        {"values": {"temp °C": 21.5}},
        {"values": {"x" * 65: 21.5}},
        {"temperature": "21.5"},
        {"temp °C": 21.5},
        {"values": {"temperature": 21.5}, "ts": -1},
        {"values": {"temperature": 21.5}, "ts": [1]},
        {"values": {"temperature": 21.5}, "seq": -1},
        {"values": {"temperature": 21.5}, "seq": 1.5},
        {"values": {"temperature": 21.5}, "device": 7},
    ],
)
def test_what_would_be_a_dead_letter_does_not_fit(message):
    assert not MESSAGE.is_valid(message)
