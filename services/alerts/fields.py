"""Which fields a condition or summary may name, and their kinds: taken from the schema, never listed twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec
from msgspec import inspect


@dataclass(frozen=True)
class Kind:
    """What a field or an expression is. `values` are an enumeration's, `element` a list's, `fields` an object's."""

    name: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    element: "Kind | None" = None
    fields: Mapping[str, "Kind"] = field(default_factory=dict, hash=False, compare=False)

    @property
    def is_number(self) -> bool:
        """Whether it can be calculated with."""
        return self.name in ("int", "double")

    @property
    def is_text(self) -> bool:
        """Text, or one of an enumeration's texts."""
        return self.name == "string"

    @property
    def is_scalar(self) -> bool:
        """Whether it can be shown in a summary."""
        return self.name in ("int", "double", "string", "bool")

    def __str__(self) -> str:
        return f"one of {', '.join(self.values)}" if self.values else self.name


BOOL = Kind("bool")
INT = Kind("int")
DOUBLE = Kind("double")
STRING = Kind("string")
NULL = Kind("null", nullable=True)
UNKNOWN = Kind("unknown")
"""Of an expression that is wrong: a problem is already recorded, and it must not cause another."""


def of_record(record: type[msgspec.Struct]) -> Mapping[str, Kind]:
    """Field name -> kind, in the schema's order."""
    described = inspect.type_info(record)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{record} is no record")
    return MappingProxyType(_of_struct(described))


def _of_struct(struct: inspect.StructType) -> dict[str, Kind]:
    return {f.name: _of_type(f.type) for f in struct.fields}


def _of_type(described: inspect.Type) -> Kind:
    match described:
        case inspect.BoolType():
            return BOOL
        case inspect.IntType():
            return INT
        case inspect.FloatType():
            return DOUBLE
        case inspect.StrType():
            return STRING
        case inspect.EnumType():
            return Kind("string", values=tuple(str(member.value) for member in described.cls))
        case inspect.ListType():
            return Kind("list", element=_of_type(described.item_type))
        case inspect.StructType():
            return Kind("object", fields=MappingProxyType(_of_struct(described)))
        case inspect.UnionType():
            (only,) = (t for t in described.types if not isinstance(t, inspect.NoneType))
            return replace(_of_type(only), nullable=True)
        case _:
            raise TypeError(f"no kind for {described}: teach it to services/alerts/fields.py")
