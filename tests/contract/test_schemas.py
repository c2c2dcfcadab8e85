"""The contract against itself: generated files, the last release, and examples of everything that flows."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas import generate, mqtt, raw
from schemas.catalogue import FLOWS, RECORDS, tag_of
from schemas.compatibility import broken_records
from schemas.json_schema import message_schema, record_schema
from schemas.reasons import Reason, Stage
from services.alerts import worker
from services.runtime.settings import known_names
from services.sink.readers import readers

SCHEMAS = Path(generate.__file__).parent
EXAMPLES = SCHEMAS / "examples"
RELEASED = max((SCHEMAS / "released").iterdir(), key=lambda folder: [int(n) for n in folder.name.split(".")])
RECORD_OF = {tag_of(record): record for record in RECORDS}
MESSAGE = Draft202012Validator(message_schema())


class Before(msgspec.Struct, forbid_unknown_fields=True):
    mqtt_topic: str
    payload: str


class DeadLetterExample(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason
    stage: Stage
    note: str
    mqtt_topic: str
    payload: str | None = None
    payload_base64: bytes | None = None
    before: list[Before] = []
    settings: dict[str, str] = {}
    device_types: dict[str, Any] = {}
    needs: str | None = None
    goes_on: list[str] = []

    def bytes(self) -> bytes:
        return self.payload_base64 if self.payload is None else self.payload.encode()


def dead_letter(reason: Reason) -> DeadLetterExample:
    return msgspec.json.decode((EXAMPLES / "dead-letters" / f"{reason}.json").read_bytes(), type=DeadLetterExample)


@pytest.mark.parametrize(("service", "read"), [("sink", set(readers())), ("alerts", set(worker.TOPICS.values()))])
def test_the_catalogue_says_who_reads_what(service, read):
    said = {flow.topic for flow in FLOWS if service in flow.readers and flow.records}
    assert said == read


def test_the_generated_files_are_current():
    files = generate.render(generate.project_version())
    assert generate.stale(files, generate.FOLDER) == [], "run `python -m schemas.generate`"


def test_nothing_breaks_against_the_last_release():
    released = {path.name: json.loads(path.read_text()) for path in RELEASED.glob("*.json")}
    current = {f"{tag}{generate.SUFFIX}": record_schema(record) for tag, record in RECORD_OF.items()}
    assert released, "the baseline is empty"
    assert broken_records(released, current) == [], "see schemas/compatibility.py"


@pytest.mark.parametrize("path", sorted((SCHEMAS / "generated").glob("*.schema.json")), ids=lambda path: path.name)
def test_each_schema_is_valid_json_schema(path):
    Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_every_record_has_an_example():
    assert {path.stem for path in (EXAMPLES / "records").iterdir()} == RECORD_OF.keys()


@pytest.mark.parametrize("tag", sorted(RECORD_OF))
def test_a_record_s_example_fits_its_schema_and_survives_its_struct(tag):
    example = json.loads((EXAMPLES / "records" / f"{tag}.json").read_text())
    schema = json.loads((SCHEMAS / "generated" / f"{tag}{generate.SUFFIX}").read_text())
    Draft202012Validator(schema).validate(example)
    record = msgspec.json.decode(json.dumps(example), type=RECORD_OF[tag])
    assert msgspec.to_builtins(record) == example
    assert set(example) == set(schema["properties"]), "an example shows every field"


@pytest.mark.parametrize("tag", sorted(RECORD_OF))
def test_a_consumer_ignores_fields_that_it_does_not_know(tag):
    example = json.loads((EXAMPLES / "records" / f"{tag}.json").read_text())
    known = msgspec.json.decode(json.dumps(example), type=RECORD_OF[tag])
    assert msgspec.json.decode(json.dumps(example | {"of_the_future": 1}), type=RECORD_OF[tag]) == known


@pytest.mark.parametrize("path", sorted((EXAMPLES / "messages").iterdir()), ids=lambda path: path.stem)
def test_a_message_s_example_fits_what_devices_may_send(path):
    MESSAGE.validate(json.loads(path.read_text()))


def test_the_examples_show_every_form_of_a_message():
    shown = [json.loads(path.read_text()) for path in (EXAMPLES / "messages").iterdir()]
    forms = {"array" if isinstance(m, list) else "object" if "values" in m else "flat" for m in shown}
    assert forms == {"array", "object", "flat"}


def test_every_reason_has_an_example():
    assert {path.stem for path in (EXAMPLES / "dead-letters").iterdir()} == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_dead_letter_s_example_is_complete(reason):
    example = dead_letter(reason)
    assert example.reason == reason
    assert (example.payload is None) != (example.payload_base64 is None)
    assert set(example.settings) <= known_names()


@pytest.mark.parametrize("reason", list(Reason))
def test_the_bridge_refuses_exactly_what_it_can_see(reason):
    parts = dead_letter(reason).mqtt_topic.split("/")
    placed = len(parts) == len(mqtt.TELEMETRY_ROUTE.split("/")) and parts[-1] == "telemetry"
    valid = all(mqtt.ID.fullmatch(part) for part in parts[2:5])
    assert placed == (reason is not Reason.UNROUTABLE)
    assert valid == (reason is not Reason.BAD_TOPIC)
    by_bridge = reason in (Reason.UNROUTABLE, Reason.BAD_TOPIC, Reason.TOO_LARGE)
    assert (dead_letter(reason).stage is Stage.BRIDGE) == by_bridge


def test_bytes_that_are_no_json_are_told_apart():
    with pytest.raises(UnicodeDecodeError):
        dead_letter(Reason.NOT_UTF8).bytes().decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(dead_letter(Reason.MALFORMED).bytes())
    with pytest.raises(RecursionError):
        msgspec.json.decode(dead_letter(Reason.TOO_DEEP).bytes())


@pytest.mark.parametrize("reason", [Reason.WRONG_SHAPE, Reason.NOT_A_NUMBER, Reason.BAD_SENSOR])
def test_a_message_of_the_wrong_shape_does_not_fit_what_devices_may_send(reason):
    assert not MESSAGE.is_valid(json.loads(dead_letter(reason).bytes()))


@pytest.mark.parametrize("reason", [Reason.OUT_OF_RANGE, Reason.LATE, Reason.TIME_COLLISION, Reason.SENSOR_BUDGET])
def test_a_message_refused_for_its_values_alone_is_well_formed(reason):
    MESSAGE.validate(json.loads(dead_letter(reason).bytes()))


def test_the_dead_letter_record_s_example_carries_its_payload_whole():
    example = json.loads((EXAMPLES / "records" / "dead-letter.v1.json").read_text())
    assert len(base64.b64decode(example["payload"])) == example["size"] <= raw.TOO_LARGE_KEPT_BYTES
