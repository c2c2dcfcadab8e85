"""Messages that a hostile (or broken) client may publish, and records that it may write; a seed gives the same ones."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from schemas import generate, raw
from services.bridge.packets import Message
from services.stream.arrival import RawRecord
from tests.hostile import hostile_json
from tests.hostile.hostile_json import LARGEST

NOON_US: Final = 1_792_584_000_000_000
SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
EXAMPLES: Final = tuple(
    path.read_bytes() for path in sorted((Path(generate.__file__).parent / "examples" / "messages").glob("*.json"))
)
TOPICS: Final = (
    *(b"", b"/", b"//", b"+", b"#", b"$SYS/broker/uptime", b"$share/g/weir/v1/a/b/c/telemetry", b"\x00", b"\xff\xfe"),
    *(b"weir", b"weir/v1", b"weir/v1/", b"weir/v1/#", b"weir/v1/+/+/+/telemetry", b"weir-out/v1/a/b/c/alarms"),
    *(
        b"weir/v1/acme/north/pump-1/telemetry/",
        b"/weir/v1/acme/north/pump-1/telemetry",
        b"weir/v1/acme//pump-1/telemetry",
    ),
    *(b"weir/v1///telemetry/telemetry", b"weir/v1/$/$/$/telemetry", b"weir/v1/acme/north/$/telemetry"),
    *(b"weir/v1/acme/north/pump-1/Telemetry", b"weir/v1/acme/north/pump-1\x00/telemetry", b"WEIR/v1/a/b/c/telemetry"),
    *(
        b"weir/v1/acme/north/pump 1/telemetry",
        b"weir/v1/acme/north/pump,1=x/telemetry",
        b"weir/v1/a|10|0/n/d/telemetry",
    ),
    *(
        b"weir/v1/acme/north/pump\n1/telemetry",
        b"weir/v1/acme/north/\xed\xa0\x80/telemetry",
        "weir/v1/ä/n/p/telemetry".encode(),
    ),
    *(b"weir/v1/acme/north/" + b"d" * 64 + b"/telemetry", b"weir/v1/acme/north/" + b"d" * 65 + b"/telemetry"),
    *(b"weir/v1/acme/" + b"x" * 65_000, b"/" * 65_535, b"weir/v1/" + "\U0001f600".encode() * 200 + b"/n/p/telemetry"),
    *(
        b"weir/v1/../../etc/telemetry",
        b"weir/v1/acme/north/../telemetry",
        b"weir/v1/./././telemetry",
        b"weir/v1/:/:/:/telemetry",
    ),
    *(
        b"weir/v1/acme/north/pump-1/status",
        b"weir/v1/acme/north/pump 1/status",
        b"weir/v1/{tenant}/{site}/{device}/telemetry",
    ),
)
SENSORS: Final = (
    *(
        "temperature",
        "flow",
        "a/b",
        ".",
        "/",
        "a:b",
        "-",
        "_",
        "a" * 64,
        "a" * 65,
        "",
        " ",
        "a b",
        "a,b",
        "a=b",
        "a\\",
        "\\",
    ),
    *(
        '"',
        "'",
        "a\nb",
        "\x00",
        "é",
        "😀",
        "value",
        "time",
        "seq",
        "ts",
        "device",
        "_measurement",
        "__proto__",
        "x" * 5000,
    ),
    *(
        "a\u2028b",
        "\u202eabc",
        "temperature ",
        "TEMPERATURE",
        "0",
        "1e5",
        "null",
        "true",
        "$",
        "#",
        "+",
        "%s",
        "{0}",
        "${x}",
    ),
)
NUMBERS: Final = (
    *(
        0,
        -0.0,
        1,
        -1,
        21.5,
        1e-400,
        5e-324,
        1e99,
        1e100,
        1.0000001e100,
        -1e100,
        1e101,
        1e153,
        1e154,
        1e155,
        1e300,
        1e308,
    ),
    *(-1e308, 1.7976931348623157e308, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**100, 10**309, 10**4000),
    *(float("nan"), float("inf"), float("-inf"), 20.0, 20.0, 20.5, 21.0, 22.0),
)
ODD: Final = (None, True, False, "", "warm", "1", "NaN", "\ud800", [], [1], {}, {"v": 1}, [[[[1]]]], "x" * 2000)
TIMES: Final = (
    *(
        None,
        0,
        -1,
        1,
        0.0,
        -0.5,
        1e-9,
        10**9,
        10**12,
        10**15,
        10**18,
        10**21,
        10**40,
        10**4000,
        -(10**4000),
        2**31,
        2**63,
    ),
    *(
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        99_999_999_999,
        100_000_000_000,
        99_999_999_999_999,
        10**17,
        10**17 - 1,
    ),
    *(
        "",
        " ",
        "0",
        "-1",
        "now",
        "null",
        "NaN",
        "inf",
        "-Infinity",
        "1e3",
        "1e400",
        "1_792_584_000",
        "20261021",
        "2026-10-21",
    ),
    *("2026-10-21T12:00:00Z", "2026-10-21T12:00:00+14:00", "2026-10-21T12:00:00-23:59", "2026-10-21T12:00:00+24:00"),
    *(
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01",
        "10000-01-01",
        "2026-W43-3",
        "2026-W54-1",
    ),
    *("0001-W01-1", "9999-W53-7", "2026-02-30", "2026-10-21T24:00:00", "2026-10-21T12:00:60", "2026-10-21\n12:00:00"),
    *("2026-10-21T12:00:00.1234567890", "1" * 40, "1" * 41, "٢٠٢٦", "²", "+1792584000", "1792584000.5", "0x6AD8"),
    *([], {}, True, [1], {"s": 1}, "\ud800", "2026-10-21T12:00:00\x00", "Wed, 21 Oct 2026 12:00:00 GMT", "1792584000Z"),
)
SEQS: Final = (
    *(
        None,
        0,
        1,
        -1,
        1.0,
        1.5,
        -0.0,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        1e300,
        float("nan"),
        float("inf"),
        "1",
        "",
        True,
        [],
        {},
    ),
    *(10**4000, 999_999, 1_000_000, 1_000_001, 10**7, 10**12),
)
CLAIMS: Final = ("pump-1", "acme", "north", "other", 5, [], "\ud800")
PIECES: Final = (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"-", b"e9", b"\xff", b"\x00")
JUNK_HEADERS: Final = (
    (raw.RECEIVED_AT, (b"", b"x", b"-5", b"9" * 30, b"9" * 5000, b"1.5", b"nan", b" 12 ", b"1_0", b"\xff", b"0", None)),
    (raw.MQTT_TOPIC, (*TOPICS[:30], None)),
    (raw.MQTT_DUP, (b"", b"2", b"01", b"\xff", None)),
    (raw.ROUTE, (b"status", b"none", b"\xff", None)),
    (raw.REJECT, (b"unroutable", b"too_large", b"bad_topic", b"late", b"of_the_future", b"\xff", b"", None)),
    (raw.REJECT_DETAIL, (b"\xff", b"x" * 5000, None)),
    (raw.SIZE, (b"300000", b"many", b"-1", b"9" * 18, b"9" * 19, None)),
    (raw.REPLAY_OF, (b"0:1:2", b"0:1:2", b"1:99:0", b"", b"\xff", b"0:1", b"9" * 5000, None)),
    (raw.REPLAY_READINGS, (b"0", b"0,1,2", b"1", b"9" * 9, b",".join([b"7"] * 9999), b"", b"x", b"0,", None)),
    (raw.SHA256, (b"\xff", b"0" * 64, b"g" * 64, None)),
)
KEYS: Final = (
    b"",
    b"/",
    b"\xff/\xff",
    b"$/$",
    b"acme/$",
    b"acme/pump-0|10|0",
    b"acme",
    b"acme/pump-1",
    b"a/b/c",
    b"x" * 9000,
)


def message(topic: bytes, payload: bytes, **more: Any) -> Message:
    """A PUBLISH; of QoS 1, not a redelivery, not retained, unless told."""
    return Message(**{"topic": topic, "payload": payload, "mid": 1, "dup": False, "retain": False} | more)


def telemetry_topic(device: str, tenant: str = "acme", site: str = "north") -> bytes:
    """Where the device publishes."""
    return f"weir/v1/{tenant}/{site}/{device}/telemetry".encode()


def encode(content: Any) -> bytes:
    """As JSON, or what comes nearest to it."""
    return json.dumps(content).encode()


class Fuzzer:
    """Gives messages and foreign records, one after the other, and the bridge's time of each."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._received_us = NOON_US
        self._earlier: list[Message] = []
        self._seqs: dict[str, int] = {}

    def inputs(self, count: int) -> Iterator[tuple[Message | RawRecord, int]]:
        """`count` inputs."""
        for _ in range(count):
            yield self.next()

    def next(self) -> tuple[Message | RawRecord, int]:
        """The next input, and when the bridge saw it."""
        chance = self._random.random()
        self._received_us += round(self._random.choice((0.0, 0.001, 0.1, 1.0, 1.0, 5.0, 30.0)) * SECOND_US)
        if chance < 0.001:
            self._received_us += self._random.choice((-60, 3600, 86_400)) * SECOND_US
        if self._earlier and chance > 0.95:
            again = self._random.choice(self._earlier)
            return message(again.topic, again.payload, dup=self._random.random() < 0.7), self._received_us
        if chance > 0.90:
            return self._record(), self._received_us
        made = message(
            self._topic(),
            self._payload(),
            dup=self._random.random() < 0.02,
            retain=self._random.random() < 0.01,
            properties=self._properties(),
        )
        self._remember(made)
        return made, self._received_us

    def _remember(self, made: Message) -> None:
        if len(made.payload) < 4096:
            self._earlier.append(made)
            if len(self._earlier) > 300:
                del self._earlier[self._random.randrange(300)]

    def _device(self) -> str:
        pick = self._random.random()
        return f"pump-{self._random.randrange(8)}" if pick < 0.97 else f"invented-{self._random.randrange(10**6)}"

    def _topic(self) -> bytes:
        pick = self._random.random()
        if pick < 0.08:
            return self._random.choice(TOPICS)
        if pick < 0.10:
            return self._mutated(telemetry_topic("pump-1"))
        tenant = "acme" if pick < 0.97 else f"t{self._random.randrange(1000)}"
        site = "north" if pick < 0.95 else f"site-{self._random.randrange(20)}"
        return telemetry_topic(self._device(), tenant, site)

    def _payload(self) -> bytes:
        pick = self._random.random()
        if pick < 0.25:
            return encode(self._good())
        if pick < 0.45:
            return self._mutated(encode(self._good()) if self._random.random() < 0.7 else self._random.choice(EXAMPLES))
        if pick < 0.75:
            return encode(self._odd())
        if pick < 0.9:
            return self._around(self._random.choice(hostile_json.SMALL))
        if pick < 0.95:
            return self._mutated(self._around(self._random.choice(hostile_json.SMALL)))
        if pick < 0.998:
            return self._random.randbytes(self._random.choice((0, 1, 2, 8, 60, 400)))
        return self._heavy()

    def _good(self) -> dict[str, Any]:
        device = self._device()
        seq = self._seqs[device] = self._seqs.get(device, -1) + self._random.choice((1, 1, 1, 1, 2, 7))
        sent: dict[str, Any] = {"values": {s: self._random.gauss(20, 3) for s in self._random.sample(SENSORS[:6], 2)}}
        if self._random.random() < 0.9:
            sent["ts"] = (self._received_us - self._random.choice((2000, 2000, 2000, 5 * SECOND_US))) // 1000
        if self._random.random() < 0.7:
            sent["seq"] = seq
        return sent

    def _odd(self) -> Any:
        pick = self._random.random()
        if pick < 0.2:
            return [self._odd_element() for _ in range(self._random.choice((0, 1, 2, 5, 40)))]
        if pick < 0.25:
            return self._odd_value()
        return self._odd_element()

    def _odd_element(self) -> Any:
        choose = self._random.choice
        values = {choose(SENSORS): self._odd_value() for _ in range(choose((0, 1, 1, 2, 3, 8)))}
        element: dict[str, Any] = {"values": values} if self._random.random() < 0.8 else dict(values)
        if self._random.random() < 0.8:
            element["ts"] = self._time()
        if self._random.random() < 0.6:
            element["seq"] = self._random.randrange(3000) if self._random.random() < 0.7 else choose(SEQS)
        if self._random.random() < 0.06:
            element[choose(("device", "site", "tenant"))] = choose(
                ("pump-1", "acme", "north", "other", 5, [], "\ud800")
            )
        if self._random.random() < 0.03:
            element[choose(("values", "ts", "more"))] = choose((*ODD, *NUMBERS))
        return element if self._random.random() < 0.97 else choose(ODD)

    def _odd_value(self) -> Any:
        pick = self._random.random()
        if pick < 0.5:
            return self._random.gauss(20, 3)
        return self._random.choice(NUMBERS) if pick < 0.8 else self._random.choice(ODD)

    def _time(self) -> Any:
        pick = self._random.random()
        if pick < 0.3:
            return self._random.choice(TIMES)
        away_s = self._random.choice((0, 0, -1, -8, -30, -70, -600, -4000, -86_400, -604_801, 30, 299, 301, 86_400))
        at_us = self._received_us + away_s * SECOND_US + self._random.randrange(SECOND_US)
        return self._random.choice((at_us, at_us, at_us // 1000, at_us / 1e6, at_us * 1000, str(at_us)))

    def _around(self, document: bytes) -> bytes:
        shapes = (b"%b", b'{"values":{"a":%b}}', b'{"values":%b}', b'{"ts":%b,"values":{"a":1}}', b"[%b]")
        more = (b'{"seq":%b,"values":{"a":1,"b":true}}', b'{"values":{"a":2},"more":%b}', b'{"a":%b,"b":3.5}')
        return self._random.choice(shapes + more) % document

    def _mutated(self, data: bytes) -> bytes:
        mutable = bytearray(data)
        for _ in range(self._random.choice((1, 1, 2, 5))):
            at = self._random.randrange(len(mutable) + 1)
            match self._random.randrange(7):
                case 0:
                    mutable[at:at] = self._random.randbytes(self._random.randrange(1, 4))
                case 1:
                    del mutable[at : at + self._random.randrange(1, 9)]
                case 2:
                    mutable[at : at + 1] = (
                        bytes([mutable[at] ^ 1 << self._random.randrange(8)]) if at < len(mutable) else b""
                    )
                case 3:
                    piece = mutable[at : at + self._random.randrange(1, 30)]
                    mutable[at:at] = piece * self._random.choice((1, 2, 50))
                case 4:
                    del mutable[at:]
                case 5:
                    mutable[at:at] = self._random.choice(
                        (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"-", b"e9", b"\xff", b"\x00")
                    )
                case _:
                    mutable[at:at] = self._random.choice(hostile_json.SMALL)
        return bytes(mutable)

    def _heavy(self) -> bytes:
        match self._random.randrange(8):
            case 0:
                return self._around(self._random.choice(hostile_json.DEEP))
            case 1:
                return self._around(self._random.choice(hostile_json.GOOD))
            case 2:
                return self._random.randbytes(self._random.choice((LARGEST, LARGEST + 1, 3 * LARGEST)))
            case 3:
                return encode({"values": {f"s{i}": i for i in range(self._random.choice((65, 9_999, 10_001)))}})
            case 4:
                at_us = self._received_us
                step_us = self._random.choice((-SECOND_US, SECOND_US // 100, -70 * SECOND_US))
                return encode([{"values": {"a": i}, "ts": at_us + i * step_us} for i in range(2000)])
            case 5:
                return encode([{"values": {"a": i % 2}, "seq": i * 2} for i in range(5000)])
            case 6:
                return b"[" * 1_000_000
            case _:
                return encode([{"values": {"a": 1}}, *[5] * self._random.choice((100, 9000))])

    def _properties(self) -> bytes:
        pick = self._random.random()
        if pick < 0.9:
            return b""
        if pick < 0.95:
            return self._random.randbytes(self._random.randrange(1, 40))
        name = b"\x26\x00\x0btraceparent"
        value = self._random.choice((b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"x" * 60_000, b"\xff"))
        return b"\x03\x00\x02ab" + name + len(value).to_bytes(2, "big") + value

    def _record(self) -> RawRecord:
        device = self._device()
        headers: dict[str, Any] = {
            raw.MQTT_TOPIC: telemetry_topic(device),
            raw.MQTT_DUP: b"0",
            raw.RECEIVED_AT: b"%d" % self._received_us,
        }
        for name, values in self._random.sample(JUNK_HEADERS, self._random.randrange(4)):
            headers[name] = self._random.choice(values)
        if self._random.random() < 0.2:
            headers |= {raw.REPLAY_OF: b"0:1:2", raw.REPLAY_READINGS: self._random.choice((b"0", b"0,1", b"1,2,3"))}
        if self._random.random() < 0.1:
            headers.pop(self._random.choice((raw.MQTT_TOPIC, raw.RECEIVED_AT, raw.MQTT_DUP)))
        key = f"acme/{device}".encode() if self._random.random() < 0.7 else self._random.choice(KEYS)
        return RawRecord(0, key, self._payload(), headers)
