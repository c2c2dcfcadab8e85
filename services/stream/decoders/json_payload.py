"""JSON payloads: a typed decode that takes what most devices send, and a patient path for all else.

The fast path refuses NaN, text, booleans and the flat form; the patient path then tells good entries from bad ones.
Duplicate keys: the last wins, in both.
"""

import json
import math
from typing import Any, Final

import msgspec

from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream.decoders import Element
from services.stream.decoders.nesting import deeper_than

_DEEPEST: Final = 16
"""Levels of nesting that a payload may have; ours need four."""
_CLAIMS: Final = ("tenant", "site", "device")
_RESERVED: Final = frozenset({"ts", "seq", *_CLAIMS})
_MAX_SEQ: Final = 2**63 - 1
_MAX_DIGITS: Final = 40
_NO_SEQ: Final = "`seq` is no whole number from 0 to 2^63 - 1"


class _Typed(msgspec.Struct, gc=False):
    values: dict[str, float | None]
    ts: int | float | str | None = None
    seq: int | None = None
    tenant: str | None = None
    site: str | None = None
    device: str | None = None


_decode_typed = msgspec.json.Decoder(_Typed | list[_Typed]).decode


class JsonDecoder:
    """`{"ts", "seq", "values": {…}}`, an array of these, or flat; `ts` and `seq` optional, null is a missing value."""

    def decode(self, payload: bytes) -> list[Element]:
        """See `Decoder.decode`.

        >>> JsonDecoder().decode(b'{"ts": 1700000000, "seq": 7, "values": {"temperature": 21.5}}')[0].values
        {'temperature': 21.5}
        """
        if not payload.isascii():
            # msgspec looks at the texts that it keeps; a message is UTF-8 as a whole, whatever else is in it.
            _text(payload)
        if deeper_than(payload, _DEEPEST):
            raise Poison(Reason.TOO_DEEP, f"nested deeper than {_DEEPEST} levels")
        try:
            typed = _decode_typed(payload)
        except msgspec.DecodeError:
            return _decode_patiently(payload)
        if type(typed) is _Typed:
            one = _from_typed(typed)
            return [one] if one.broken is None else _usable([one])
        if not typed:
            raise Poison(Reason.WRONG_SHAPE, "an empty array")
        return _usable([_from_typed(element) for element in typed])


def _from_typed(typed: _Typed) -> Element:
    values = typed.values
    claims = None
    if typed.device is not None or typed.site is not None or typed.tenant is not None:
        claims = {name: claim for name in _CLAIMS if (claim := getattr(typed, name)) is not None}
    if None in values.values():
        values = {sensor: value for sensor, value in values.items() if value is not None}
    seq = typed.seq
    if seq is not None and not 0 <= seq <= _MAX_SEQ:
        return _broken(_NO_SEQ)
    return Element(typed.ts, seq, values, len(values), claims=claims)  # type: ignore[arg-type]  # no None left in it


def _decode_patiently(payload: bytes) -> list[Element]:
    text = _text(payload)
    try:
        whole = json.loads(text, parse_int=_integer)
    except ValueError as error:
        raise Poison(Reason.MALFORMED, str(error)) from None
    if "\\u" in text:
        _refuse_lone_surrogates(whole)
    if isinstance(whole, dict):
        return _usable([_from_object(whole)])
    if isinstance(whole, list):
        if not whole:
            raise Poison(Reason.WRONG_SHAPE, "an empty array")
        return _usable(
            [_from_object(entry) if isinstance(entry, dict) else _broken("not an object") for entry in whole]
        )
    raise Poison(Reason.WRONG_SHAPE, f"neither object nor array: {type(whole).__name__}")


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Poison(Reason.NOT_UTF8, f"byte {error.start}: {error.reason}") from None


def _usable(elements: list[Element]) -> list[Element]:
    why = elements[0].broken
    if why is not None and all(element.broken is not None for element in elements):
        raise Poison(Reason.WRONG_SHAPE, why if len(elements) == 1 else f"no element can be used; the first: {why}")
    return elements


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits, and squares with their length below that.
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _refuse_lone_surrogates(whole: Any) -> None:
    try:
        json.dumps(whole, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Poison(Reason.MALFORMED, "text with half a surrogate pair, which no UTF-8 can carry") from None


def _broken(why: str) -> Element:
    return Element(None, None, {}, 1, broken=why)


def _from_object(entry: dict[str, Any]) -> Element:
    if "values" in entry:
        sent = entry["values"]
        if not isinstance(sent, dict):
            return _broken("`values` is no object")
    else:
        sent = {sensor: value for sensor, value in entry.items() if sensor not in _RESERVED}
        if not sent:
            return _broken("no values")
    seq = entry.get("seq")
    if isinstance(seq, float) and seq.is_integer():
        seq = int(seq)
    if seq is not None and (isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= _MAX_SEQ):
        return _broken(_NO_SEQ)
    values: dict[str, float] = {}
    odd: dict[str, Any] = {}
    for sensor, value in sent.items():
        if type(value) is float or type(value) is int:
            number = _finite(value)
            if number is None:
                odd[sensor] = value
            else:
                values[sensor] = number
        elif value is not None:
            odd[sensor] = value
    claims = {name: entry[name] for name in _CLAIMS if entry.get(name) is not None}
    return Element(entry.get("ts"), seq, values, len(values) + len(odd), odd=odd or None, claims=claims or None)


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
