"""How deep JSON text is nested, told from its brackets alone and before it is parsed.

Parsers give up at the depth of the C stack, which depends on who called them: the same message would be read in one
process and refused in another, and a replay would not give the same bytes.
"""

import re
from typing import Final

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_INNERMOST: Final = re.compile(rb"(?:\[\]|\{\})+")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))


def deeper_than(payload: bytes, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than so many levels; linear in the payload, whatever is in it.

    Of text that is no JSON the answer is one or the other, but always the same; False means that a parser's recursion
    stays below twice as many levels.
    """
    if payload.count(b"[") + payload.count(b"{") <= levels:
        return False
    left = _STRING.sub(b"", payload).translate(None, _NO_BRACKET)
    for _ in range(levels):
        if not left:
            return False
        left = _INNERMOST.sub(b"", left)
    return left.count(b"[") + left.count(b"{") > levels or _INNERMOST.search(left) is not None
