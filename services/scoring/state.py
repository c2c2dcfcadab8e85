"""Versioned, allow-listed encoding of what has been learnt. No pickles: they break between versions and run code.

A class is stored when it is registered here, by a tag with a version and the fields it has learnt. Decoding creates no
object that a state names: the scorer is built from its spec first, then the fields are put into it, type by type.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeAlias

from services.scoring.state_errors import ModelNotRegistered, StateUnreadable

__all__ = [
    "Codec",
    "ModelNotRegistered",
    "State",
    "StateUnreadable",
    "encode",
    "register",
    "register_fields",
    "require_registered",
    "restore",
    "restored_array",
]

State: TypeAlias = Any
"""Nested lists of int, float, str, bytes, bool and None: what msgpack can carry, exactly."""

_OBJECTS: Final = "*"
_PLAIN: Final = "#"
_AS_IN_MEMORY: Final = "BHd" if sys.byteorder == "little" else "B"
"""Kinds of arrays that lie in memory as they are stored."""


class Codec:
    """How one class is stored: `encode(thing)` gives its fields, `restore(thing, fields)` puts them into a new one."""

    def __init__(
        self,
        tag: str,
        encode: Callable[[Any], list[State]],
        restore: Callable[[Any, Sequence[State]], None],
    ) -> None:
        self.tag = tag
        self.encode = encode
        self.restore = restore


class _Fields:
    """A class that is stored as attributes, or paths of them."""

    def __init__(self, tag: str, fields: tuple[str, ...]) -> None:
        self.tag = tag
        self.getters: list[Any] = [attrgetter(field) for field in fields]
        # One call for all of them is half of what they take; `attrgetter` gives a tuple from two on.
        self.at_once: Any = attrgetter(*fields) if len(fields) > 1 else None
        self.owners: list[Any] = []
        self.names: list[str] = []
        for field in fields:
            owner, _, name = field.rpartition(".")
            self.owners.append(attrgetter(owner) if owner else None)
            self.names.append(name)

    def learnt(self, thing: object) -> list[State]:
        """The tag, then the fields."""
        found: list[State] = [self.tag]
        at_once = self.at_once
        values: tuple[Any, ...] = at_once(thing) if at_once else tuple([getter(thing) for getter in self.getters])
        for value in values:
            kind = type(value)
            if kind is float or kind is int or kind is bool:
                found.append(value)
            else:
                found.append(encode(value))
        return found

    def put(self, thing: object, states: list[State]) -> None:
        """Put a state's fields, which come after its tag, into a new `thing`."""
        names = self.names
        if len(states) - 1 != len(names):
            raise StateUnreadable(f"{self.tag} has {len(names)} fields, not {len(states) - 1}")
        for place, name in enumerate(names):
            state = states[place + 1]
            owner = self.owners[place]
            whose = thing if owner is None else owner(thing)
            current = getattr(whose, name)
            kind = type(current)
            if kind is float or kind is int or kind is bool:
                if type(state) is not kind:
                    raise StateUnreadable(f"{self.tag}: expected {kind.__name__}, not {type(state).__name__}")
                setattr(whose, name, state)
            else:
                restored = _restored(current, state, self.tag)
                if restored is not current:
                    setattr(whose, name, restored)


_codecs: Final[dict[type, Codec]] = {}
_fields: Final[dict[type, _Fields]] = {}


def register(kind: type, codec: Codec) -> None:
    """Allow `kind` to be stored, by `codec`."""
    _codecs[kind] = codec


def register_fields(kind: type, tag: str, *fields: str) -> None:
    """Allow `kind` to be stored as `fields`: attributes, or paths of them (`gaussian._var.mean.n`)."""
    _fields[kind] = _Fields(tag, fields)


def _is_registered(kind: type) -> bool:
    return kind in _fields or kind in _codecs


def require_registered(model: object) -> None:
    """Raise `ModelNotRegistered` unless `model` can be stored."""
    kind = type(model)
    if not _is_registered(kind):
        raise ModelNotRegistered(f"no state encoding for {kind.__module__}.{kind.__qualname__}; see river_state")


def encode(thing: Any) -> State:
    """What `thing` has learnt."""
    kind = type(thing)
    fields = _fields.get(kind)
    if fields is not None:
        return fields.learnt(thing)
    codec = _codecs.get(kind)
    if codec is not None:
        return [codec.tag, *codec.encode(thing)]
    if isinstance(thing, list):
        if thing and _is_registered(type(thing[0])):
            return [_OBJECTS, *[encode(each) for each in thing]]
        return [_PLAIN, *thing]
    if isinstance(thing, array):
        if thing.typecode in _AS_IN_MEMORY:
            return thing.tobytes()
        return struct.pack(f"<{len(thing)}{thing.typecode}", *thing)
    return thing


def restore(thing: Any, state: State) -> None:
    """Put what `encode` gave for its like into `thing`, new from its spec; raises `StateUnreadable`."""
    kind = type(thing)
    fields = _fields.get(kind)
    codec = _codecs[kind] if fields is None else None
    tag = fields.tag if fields is not None else codec.tag if codec is not None else ""
    if not isinstance(state, list) or not state or state[0] != tag:
        raise StateUnreadable(f"expected the state of a {tag}")
    if fields is not None:
        fields.put(thing, state)
    elif codec is not None:
        codec.restore(thing, state[1:])


def _restored(current: Any, state: State, where: str) -> Any:
    if _is_registered(type(current)):
        restore(current, state)
        return current
    if isinstance(current, array):
        return restored_array(current, state, where)
    if isinstance(current, list):
        return _restored_list(current, state, where)
    if type(state) is not type(current):
        raise StateUnreadable(f"{where}: expected {type(current).__name__}, not {type(state).__name__}")
    return state


def restored_array(current: "array[Any]", state: State, where: str) -> "array[Any]":
    """What `encode` gave for an array like `current`, which may become it; raises `StateUnreadable`."""
    typecode = current.typecode
    if not isinstance(state, bytes) or len(state) != len(current) * struct.calcsize(f"<{typecode}"):
        raise StateUnreadable(f"{where}: expected {len(current)} numbers")
    if typecode in _AS_IN_MEMORY:
        memoryview(current).cast("B")[:] = state
        return current
    return array(typecode, struct.unpack(f"<{len(current)}{typecode}", state))


def _restored_list(current: list[Any], state: State, where: str) -> list[Any]:
    if not isinstance(state, list) or not state:
        raise StateUnreadable(f"{where}: expected a list")
    kind = state[0]
    items = state[1:]
    if kind == _OBJECTS and len(items) == len(current):
        for thing, item in zip(current, items, strict=True):
            restore(thing, item)
        return current
    fits = not current or len(items) == len(current)
    if kind == _PLAIN and fits:
        for item in items:
            if type(item) is not float and type(item) is not int:
                fits = False
                break
        if fits:
            return items
    raise StateUnreadable(f"{where}: expected {len(current)} entries")
