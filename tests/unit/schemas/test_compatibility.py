"""Each kind of change to a record, judged as a reader of old records and as an old reader of new ones."""

from enum import StrEnum
from typing import Any

import msgspec
import pytest

from schemas.compatibility import breaking_changes, broken_records
from schemas.json_schema import record_schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class MoreColours(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class FewerColours(StrEnum):
    RED = "red"


class Part(msgspec.Struct):
    share: float


class PartWithName(msgspec.Struct):
    share: float
    name: str


class PartWithOptionalName(msgspec.Struct):
    share: float
    name: str = ""


BEFORE: dict[str, Any] = {
    "id": str,
    "count": int,
    "seq": int | None,
    "colour": Colour,
    "values": dict[str, float],
    "part": Part,
    "parts": list[Part],
    "by_name": dict[str, Part],
    "late": (bool, False),
}


def schema(without: str = "", **fields: Any) -> dict[str, Any]:
    """The record of BEFORE with other `fields`."""
    merged = {name: kind for name, kind in (BEFORE | fields).items() if name != without}
    declared = [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in merged.items()]
    return record_schema(
        msgspec.defstruct("Thing", declared, kw_only=True, tag="thing.v1", tag_field="type", module=__name__)
    )


@pytest.mark.parametrize(
    "changed",
    [
        schema(),
        schema(extra=(int, 0)),
        schema(extra=(str | None, None)),
        schema(colour=MoreColours),
        schema(part=PartWithOptionalName, parts=list[PartWithOptionalName], by_name=dict[str, PartWithOptionalName]),
        schema() | {"description": "In other words."},
    ],
    ids=["nothing", "field_with_default", "optional_field", "larger_set", "field_with_default_inside", "description"],
)
def test_an_additive_change_breaks_nobody(changed):
    assert breaking_changes(schema(), changed) == []


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        (schema(without="count"), "count: the field is gone"),
        (schema(without="late"), "late: the field is gone"),
        (schema(extra=int), "extra: a new field without a default"),
        (schema(late=bool), "late: the default is gone"),
        (schema(late=(bool, True)), "late: the default changed"),
        (schema(count=(int, 0)), "count: optional now"),
        (schema(count=float), "count: type changed from integer to number"),
        (schema(count=str), "count: type changed from integer to string"),
        (schema(count=int | None), "count: type changed from integer to integer or null"),
        (schema(seq=int), "seq: type changed from integer or null to integer"),
        (schema(values=dict[str, int]), "values.*: type changed from number to integer"),
        (schema(values=list[float]), "values: type changed from object to array"),
        (schema(colour=FewerColours), "colour: 'blue' is no member any more"),
        (schema(colour=str), "colour: a closed set became any text"),
        (schema(id=Colour), "id: any text became a closed set"),
        (schema(part=PartWithName), "part.name: a new field without a default"),
        (schema(parts=list[PartWithName]), "parts[].name: a new field without a default"),
        (schema(by_name=dict[str, PartWithName]), "by_name.*.name: a new field without a default"),
    ],
)
def test_a_breaking_change_is_named(changed, where):
    found = breaking_changes(schema(), changed)
    assert len(found) == 1, found
    assert found[0].startswith(where)


def test_a_record_that_starts_to_refuse_unknown_fields_breaks():
    strict = schema() | {"additionalProperties": False}
    assert [change.partition(":")[0] for change in breaking_changes(schema(), strict)] == ["*"]


def test_a_narrower_bound_breaks():
    bounded = schema()
    bounded["properties"]["count"] = {"type": "integer", "minimum": 1}
    assert [change.partition(":")[0] for change in breaking_changes(schema(), bounded)] == ["count"]


def test_another_tag_under_the_same_name_breaks():
    retagged = schema()
    retagged["properties"]["type"] = {"const": "thing.v2"}
    assert breaking_changes(schema(), retagged) == ["type: 'thing.v1' is no member any more, but stands in old records"]


def test_a_new_record_breaks_nobody_and_a_removed_one_does():
    assert broken_records({"a.v1": schema()}, {"a.v1": schema(), "a.v2": schema(count=str)}) == []
    assert broken_records({"a.v1": schema(), "a.v2": schema()}, {"a.v2": schema()}) == ["a.v1: the record is gone"]


def test_every_broken_record_is_named():
    found = broken_records({"a.v1": schema(), "b.v1": schema()}, {"a.v1": schema(count=str), "b.v1": schema(extra=int)})
    assert [line.split(":")[:2] for line in found] == [["a.v1", " count"], ["b.v1", " extra"]]
