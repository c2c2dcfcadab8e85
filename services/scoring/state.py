"""Versioned, allow-listed encoding of what has been learnt. No pickles: they break between versions and run code.

A class is stored when it is registered here, by a tag with a version and the fields it has learnt. Decoding creates no
object that a state names: the scorer is built from its spec first, then the fields are put into it, type by type.
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

State: TypeAlias = Any
"""Nested lists of int, float, str, bytes, bool and None: what msgpack can carry, exactly."""

_OBJECTS = "*"
_PLAIN = "#"


class StateUnreadable(ValueError):
    """This state was written by another version or for another spec. Build the scorer anew from the log."""


class ModelNotRegistered(TypeError):
    """A model's class has no state encoding, so it can't be checkpointed. Register it in `river_state`."""


class Codec(NamedTuple):
    """How one class is stored: `encode(thing)` gives its fields, `restore(thing, fields)` puts them into a new one."""

    tag: str
    encode: Callable[[Any], list[State]]
    restore: Callable[[Any, Sequence[State]], None]


_codecs: dict[type, Codec] = {}


def register(kind: type, codec: Codec) -> None:
    """Allow `kind` to be stored, by `codec`."""
    _codecs[kind] = codec


def register_fields(kind: type, tag: str, *fields: str) -> None:
    """Allow `kind` to be stored as `fields`: attributes, or paths of them (`gaussian._var.mean.n`)."""
    getters = [attrgetter(field) for field in fields]
    owners = [(attrgetter(owner) if owner else None, name) for owner, _, name in (f.rpartition(".") for f in fields)]

    def encode_fields(thing: Any) -> list[State]:
        return [encode(getter(thing)) for getter in getters]

    def restore_fields(thing: Any, states: Sequence[State]) -> None:
        if len(states) != len(fields):
            raise StateUnreadable(f"{tag} has {len(fields)} fields, not {len(states)}")
        for state, getter, (owner, name) in zip(states, getters, owners, strict=True):
            setattr(owner(thing) if owner else thing, name, _restored(getter(thing), state, tag))

    register(kind, Codec(tag, encode_fields, restore_fields))


def require_registered(model: object) -> None:
    """Raise `ModelNotRegistered` unless `model` can be stored."""
    if type(model) not in _codecs:
        kind = type(model)
        raise ModelNotRegistered(f"no state encoding for {kind.__module__}.{kind.__qualname__}; see river_state")


def encode(thing: Any) -> State:
    """What `thing` has learnt."""
    codec = _codecs.get(type(thing))
    if codec is not None:
        return [codec.tag, *codec.encode(thing)]
    if isinstance(thing, array):
        return struct.pack(f"<{len(thing)}{thing.typecode}", *thing)
    if isinstance(thing, list):
        if thing and type(thing[0]) in _codecs:
            return [_OBJECTS, *map(encode, thing)]
        return [_PLAIN, *thing]
    return thing


def restore(thing: Any, state: State) -> None:
    """Put what `encode` gave for its like into `thing`, new from its spec; raises `StateUnreadable`."""
    codec = _codecs[type(thing)]
    if not isinstance(state, list) or not state or state[0] != codec.tag:
        raise StateUnreadable(f"expected the state of a {codec.tag}")
    codec.restore(thing, state[1:])


def _restored(current: Any, state: State, where: str) -> Any:
    if type(current) in _codecs:
        restore(current, state)
        return current
    if isinstance(current, array):
        return _restored_array(current, state, where)
    if isinstance(current, list):
        return _restored_list(current, state, where)
    if type(state) is not type(current):
        raise StateUnreadable(f"{where}: expected {type(current).__name__}, not {type(state).__name__}")
    return state


def _restored_array(current: "array[Any]", state: State, where: str) -> "array[Any]":
    layout = f"<{len(current)}{current.typecode}"
    if not isinstance(state, bytes) or len(state) != struct.calcsize(layout):
        raise StateUnreadable(f"{where}: expected {len(current)} numbers")
    return array(current.typecode, struct.unpack(layout, state))


def _restored_list(current: list[Any], state: State, where: str) -> list[Any]:
    if not isinstance(state, list) or not state:
        raise StateUnreadable(f"{where}: expected a list")
    kind, *items = state
    if kind == _OBJECTS and len(items) == len(current):
        for thing, item in zip(current, items, strict=True):
            restore(thing, item)
        return current
    fits = not current or len(items) == len(current)
    if kind == _PLAIN and fits and all(type(item) in (int, float) for item in items):
        return items
    raise StateUnreadable(f"{where}: expected {len(current)} entries")
