import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from schemas import mqtt, raw, topics
from schemas.asyncapi import document
from schemas.catalogue import FLOWS, SERVICES

OFFICIAL = Path(__file__).parents[2] / "data" / "asyncapi" / "3.0.0.schema.json"


@pytest.fixture(scope="module")
def written():
    """The document as it stands in the file: plain JSON."""
    return json.loads(json.dumps(document("1.2.3")))


def references(node):
    """All `$ref`s in the document."""
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        yield from (ref for value in node.values() for ref in references(value))
    elif isinstance(node, list):
        yield from (ref for item in node for ref in references(item))


def test_it_is_valid_asyncapi_3(written):
    validator = Draft7Validator(json.loads(OFFICIAL.read_text()))
    assert [error.message for error in validator.iter_errors(written)] == []


def test_the_official_schema_would_find_a_mistake(written):
    validator = Draft7Validator(json.loads(OFFICIAL.read_text()))
    broken = json.loads(json.dumps(written))
    broken["operations"]["bridge-send-telemetry.raw"]["action"] = "publish"
    assert not validator.is_valid(broken)


def test_every_reference_leads_somewhere(written):
    for reference in references(written):
        target = written
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]


def test_every_topic_of_kafka_and_mqtt_is_a_channel(written):
    addresses = [channel["address"] for channel in written["channels"].values()]
    assert sorted(addresses) == sorted(
        [topic.name for topic in topics.ALL]
        + [mqtt.TELEMETRY_ROUTE, mqtt.STATUS_ROUTE, mqtt.alarms_topic("{tenant}", "{site}", "{device}")]
    )


def test_every_channel_describes_exactly_the_parts_of_its_address(written):
    for channel in written["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel.get("parameters", {}))


def test_every_header_of_the_raw_topic_is_described(written):
    names = {
        value
        for name, value in vars(raw).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
    assert set(written["components"]["messages"][topics.RAW]["headers"]["properties"]) == names


def test_every_service_sends_and_receives_as_the_catalogue_says(written):
    flows = {
        (op["tags"][0]["name"], op["action"], op["channel"]["$ref"].removeprefix("#/channels/"))
        for op in written["operations"].values()
    }
    expected = {(who, "send", flow.topic) for flow in FLOWS for who in flow.writers}
    expected |= {(who, "receive", flow.topic) for flow in FLOWS for who in flow.readers}
    assert {flow for flow in flows if not flow[2].startswith("mqtt.")} == expected
    assert {who for who, _, _ in flows} == {*SERVICES, "devices"}


def test_every_message_on_kafka_says_what_its_key_is(written):
    for flow in FLOWS:
        for message in written["channels"][flow.topic]["messages"].values():
            name = message["$ref"].rpartition("/")[2]
            assert written["components"]["messages"][name]["bindings"]["kafka"]["key"]["description"] == flow.key
