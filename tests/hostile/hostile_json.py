"""JSON documents by what a parser must say of them, in the manner of JSONTestSuite, made here.

`GOOD` is JSON by RFC 8259, `BAD` is none, and of `EITHER` a parser may think as it likes (limits, NaN, a BOM, half
surrogate pairs): it may refuse them, not choke on them.
"""

from typing import Final

LARGEST: Final = 256 * 1024


def _both_ends(inner: bytes, levels: int, opening: bytes, closing: bytes) -> bytes:
    return opening * levels + inner + closing * levels


NUMBERS: Final = (
    *(b"0", b"-0", b"-0.0", b"0.0", b"1", b"-1", b"1E0", b"1e+2", b"1e-2", b"0e1", b"0e+1", b"123.456e78", b"1e308"),
    *(b"-1e308", b"1e-400", b"4.9e-324", b"5e-324", b"2.2250738585072011e-308", b"1.7976931348623157e308", b"1e100"),
    *(b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"-9223372036854775809"),
    *(b"9007199254740993", b"0.1000000000000000055511151231257827021181583404541015625", b"1" * 300, b"-" + b"9" * 308),
    *(b"0." + b"0" * 1000 + b"1", b"1" + b"0" * 39, b"1" + b"0" * 40, b"1" + b"0" * 41),
)
HUGE_NUMBERS: Final = (
    *(b"1e309", b"-1e309", b"1e400", b"1e999999999", b"9" * 400, b"-" + b"9" * 400, b"9" * 4299, b"9" * 4300),
    *(b"9" * 4301, b"9" * 10_000, b"9" * 200_000, b"-" + b"1" * 10_000, b"1" * 5000 + b".5", b"1" * 5000 + b"e-4999"),
    *(b"0." + b"3" * 20_000, b"1e-999999999", b"1e" + b"9" * 5000, b"1e-" + b"9" * 5000),
)
NO_NUMBERS: Final = (
    *(b"+1", b"01", b"-01", b"00", b".5", b"-.5", b"1.", b"-1.", b"1.e1", b"1e", b"1e+", b"1E-", b"0x1F", b"1_000"),
    *(b"1,5", b"- 1", b"--1", b"-", b"1 2", b"1e1.5", b"\xef\xbc\x91", b"Inf", b"inf", b"nan", b"+Infinity", b"-NaN"),
    *(b"1.#INF", b"1.#QNAN", b"infinity", b"-inf", b"1f", b"1d", b"1L", b"0b1", b"0o7", b"1/2", b"$1", b"1%"),
)
ODD_NUMBERS: Final = (b"NaN", b"Infinity", b"-Infinity")
TEXTS: Final = (
    *(b'""', b'"a"', b'"\\""', b'"\\\\"', b'"\\/\\b\\f\\n\\r\\t"', b'"\\u0061"', b'"\\u0000"', b'"\\ud83d\\ude00"'),
    *('"€𝄞"'.encode(), '"\u2028\u2029\ufeff\u202e"'.encode(), '"\U0010ffff\ufdd0"'.encode(), b'"\x7f"'),
    *(b'"' + b"a" * 100_000 + b'"', b'"' + b"\\u0041" * 10_000 + b'"', b'"NaN"', b'"1"', b'"1e5"', b'"-Infinity"'),
)
NO_TEXTS: Final = (
    *(
        b'"',
        b"'a'",
        b"a",
        b'"a',
        b'"\n"',
        b'"\x00"',
        b'"\t"',
        b'"\x1f"',
        b'"\\x41"',
        b'"\\a"',
        b'"\\u00"',
        b'"\\u00g0"',
    ),
    *(b'"\\', b'"\\"', b'"\\u', b'"\\uD83D\\u"', b'"\\U0001F600"', b'"a" "b"', b'"a"b', b"`a`", b'"\\\n"', b'"\\0"'),
)
ODD_TEXTS: Final = (
    *(b'"\\ud800"', b'"\\udfff"', b'"\\ud83dx"', b'"\\ud800\\ud800"', b'"\\ude00\\ud83d"', b'"a\\udc00b"'),
)
NOT_UTF8: Final = (
    *(b'"\xff"', b'"\xc3\x28"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\xbf\xbf\xbf"', b'"\xe2\x82"', b'"\x80"'),
    *(b'"\xf8\x88\x80\x80\x80"', b'"\xfe\xff"', b'{"\xe9":1}', b"\xff\xfe[\x00]\x00", b"\xfe\xff\x00[\x00]"),
    *('{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b"\xff"),
)
STRUCTURES: Final = (
    *(
        b"[]",
        b"{}",
        b"[1]",
        b"[null]",
        b"[[]]",
        b"[{}]",
        b'{"a":{}}',
        b'{"":0}',
        b'{"a":1,"a":2}',
        b" [ ] ",
        b"\n{}\t\r",
    ),
    *(
        b'{"a":[1,2,{"b":null}]}',
        b"[" + b"0," * 9999 + b"0]",
        b"[" + b"[]," * 9999 + b"[]]",
        b"true",
        b"false",
        b"null",
    ),
    *(b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(5000)) + b"}", b'{"__proto__":{},"constructor":1}'),
    *(b"{" + b",".join([b'"a":1'] * 5000) + b"}", b'{"a":1' + b" " * 100_000 + b"}"),
)
NO_STRUCTURES: Final = (
    *(b"", b" ", b"[", b"]", b"{", b"}", b"[1", b"[1,", b"[,1]", b"[1,]", b"[1 2]", b"[1,,2]", b'{"a"}', b'{"a":}'),
    *(b'{"a":1,}', b"{,}", b"{1:2}", b"{a:1}", b"{'a':1}", b'{"a" 1}', b'{"a"::1}', b'{"a":1;"b":2}', b"[1]]", b"{}}"),
    *(b"[1}", b'{"a":1]', b"[] []", b"{}{}", b"[]\x00", b"\x00", b"\x00[]", b"[]//c", b"/**/[]", b"#\n[]", b"TRUE"),
    *(
        b"True",
        b"nul",
        b"nulll",
        b"tru",
        b"undefined",
        b"[undefined]",
        b"<a/>",
        b"a: 1",
        b"--- {}",
        b"[\x0c]",
        b"\xc2\xa0[]",
    ),
    *(b"[\xe2\x81\xa0]", b"{" * 50, b"[" * 50, b'{"a":' * 50, b"\x82\xa1a\x01", b"PK\x03\x04", b"[1]\r\n[2]", b"}{"),
)
ODD_STRUCTURES: Final = (b"\xef\xbb\xbf{}", b"\xef\xbb\xbf")
DEEP: Final = tuple(
    _both_ends(b"1", levels, opening, closing)
    for levels in (100, 1000, 5000, 50_000)
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"))
) + tuple(opening * (LARGEST // len(opening)) for opening in (b"[", b'{"a":', b"[{", b'[{"a":', b"[ "))
"""From here on too deep for us, whether closed or not; JSON has no limit."""

GOOD: Final = NUMBERS + HUGE_NUMBERS + TEXTS + STRUCTURES
BAD: Final = NO_NUMBERS + NO_TEXTS + NO_STRUCTURES
EITHER: Final = ODD_NUMBERS + ODD_TEXTS + ODD_STRUCTURES
ALL: Final = GOOD + BAD + EITHER + NOT_UTF8 + DEEP

SMALL: Final = tuple(document for document in ALL if len(document) < 1000)
"""For mutations, of which there are many."""
