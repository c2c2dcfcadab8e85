"""What may change in a record, and what may not: pure functions over two generations of its JSON Schema.

Old and new meet on every topic in both ways: new code reads the records of the days before (retention is 7 to 30 d, and
a replay reads them all), and consumers of the last release, ours and others', read new records. So allowed are a new
field with a default, a new record, another description. A set of words may grow (a new reason, a new phase): services
are upgraded consumers first, and the contract tells other consumers to expect members that they do not know.

To make a breaking change all the same, give it a new tag:

1. Declare `CleanV2` with `tag="clean.v2"` beside `Clean`, add it to the topic's `records` in the catalogue, and let
   every consumer read both (msgspec decodes `Clean | CleanV2` by the tag). Release; upgrade the consumers.
2. Let the writer write the new one. Release.
3. When the topic's retention has passed, remove the old struct and its file in the newest folder of `released/`.

At a release, `schemas/generated/*.schema.json` is copied to `schemas/released/<version>/`; the newest is the baseline.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.json_schema import Schema

_ABSENT = object()
_COMPARED_BY_RULE = frozenset(
    ("properties", "required", "items", "additionalProperties", "enum", "const", "anyOf", "$ref", "type")
)
_FOR_PEOPLE = frozenset(("title", "description", "$schema", "$id", "$defs", "default"))


def broken_records(released: Mapping[str, Schema], current: Mapping[str, Schema]) -> list[str]:
    """All that breaks between two generations of the contract (record's name -> schema); empty when nothing does."""
    gone = [f"{name}: the record is gone" for name in sorted(released.keys() - current.keys())]
    return gone + [
        f"{name}: {change}"
        for name in sorted(released.keys() & current.keys())
        for change in breaking_changes(released[name], current[name])
    ]


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What in `new` breaks readers of old records or old readers of new ones, one line each with the field's path."""
    return list(_Comparison(old, new).changes("", old, new))


class _Comparison:
    """Two documents, in which references are looked up."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new

    def changes(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        old_kinds, new_kinds = _kinds(self._old, old), _kinds(self._new, new)
        if old_kinds.keys() != new_kinds.keys():
            yield f"{path or 'record'}: type changed from {_words(old_kinds)} to {_words(new_kinds)}"
            return
        for kind, old_form in old_kinds.items():
            yield from self._changes_of_one(path, old_form, new_kinds[kind])

    def _changes_of_one(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = _members(old), _members(new)
        if before and after:
            for word in sorted(before - after):
                yield f"{path or 'record'}: {word!r} is no member any more, but stands in old records"
        elif after:
            yield f"{path}: any text became a closed set, and old records hold others"
        elif before:
            yield f"{path}: a closed set became any text, which an old consumer refuses"
        if _rest(old) != _rest(new):
            yield f"{path or 'record'}: constraint changed from {_rest(old)} to {_rest(new)}"
        yield from self._field_changes(path, old, new)
        yield from self._content_changes(f"{path}[]", old.get("items"), new.get("items"))
        yield from self._content_changes(
            f"{path}.*" if path else "*", old.get("additionalProperties"), new.get("additionalProperties")
        )

    def _field_changes(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
        old_needs, new_needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in [*old_fields, *(n for n in new_fields if n not in old_fields)]:
            where = f"{path}.{name}" if path else name
            if name not in new_fields:
                yield f"{where}: the field is gone, and old consumers read it"
            elif name not in old_fields:
                if name in new_needs:
                    yield f"{where}: a new field without a default, and old records lack it"
            else:
                if name in new_needs - old_needs:
                    yield f"{where}: the default is gone, and old records may lack the field"
                if name in old_needs - new_needs:
                    yield f"{where}: optional now, but old consumers need it"
                old_default, new_default = (f[name].get("default", _ABSENT) for f in (old_fields, new_fields))
                if old_default != new_default and _ABSENT not in (old_default, new_default):
                    yield f"{where}: the default changed from {old_default!r} to {new_default!r}"
                yield from self.changes(where, old_fields[name], new_fields[name])

    def _content_changes(self, path: str, old: Any, new: Any) -> Iterator[str]:
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self.changes(path, old, new)
        elif old != new:
            yield f"{path}: what it may hold changed from {old} to {new}"


def _resolved(document: Schema, schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: Schema = document["$defs"][reference.removeprefix("#/$defs/")]
    return target


def _kinds(document: Schema, schema: Schema) -> dict[str, Schema]:
    """The alternatives by their type; an enum of words is a string."""
    alternatives = [_resolved(document, a) for a in _resolved(document, schema).get("anyOf", [schema])]
    return {str(a.get("type", "string" if _members(a) else "any")): a for a in alternatives}


def _members(schema: Schema) -> set[str]:
    return set(schema.get("enum", ())) | ({schema["const"]} if "const" in schema else set())


def _rest(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in _COMPARED_BY_RULE | _FOR_PEOPLE}


def _words(kinds: Mapping[str, Schema]) -> str:
    return " or ".join(sorted(kinds))
