"""What hostile input costs as it grows: four times as much of it must cost about four times as much, not sixteen.

Part of `make fuzz`. CPU time of this process, the best of three. The larger input is about as large as it may be.
"""

import gc
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from services.alerts import rules
from services.alerts.outbox import Lane
from services.alerts.rules import Channel
from services.bridge.packets import Splitter
from services.runtime.errors import Poison
from services.sink.lines import LineEncoder
from services.stream.decoders.json_payload import JsonDecoder
from services.stream.pipeline import Budgets
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import NOON_US, SECOND_US, encode, message, telemetry_topic
from tests.hostile.test_hostile_bounds import clean
from tests.unit.alerts.alert_fakes import Life, World
from tests.unit.alerts.alert_records import window

STEP: Final = 4
WORST: Final = 3.0
"""Cost of one byte (or message) of the larger input, over that of the smaller: linear is 1, quadratic 4."""
LEAST_CPU_S: Final = 0.02
Work = Callable[[], object]
TOPIC: Final = telemetry_topic("evil")


def one_message(payload: bytes, topic: bytes = TOPIC) -> Work:
    """A new core takes one message."""
    core = Core(check=False)
    return lambda: core.publish(message(topic, payload), NOON_US)


def many(payloads: Sequence[bytes], topics: Sequence[bytes] = (TOPIC,), *, step_us: int = SECOND_US) -> Work:
    """A new core takes many messages, in turn from `topics`."""
    core = Core(budgets=Budgets(100_000, 64), partitions=1, check=False)
    sent = [(message(topics[i % len(topics)], p), NOON_US + i * step_us) for i, p in enumerate(payloads)]

    def work() -> None:
        for made, received_us in sent:
            core.publish(made, received_us)

    return work


def elements(times_s: Sequence[float], sensors: int = 1, *, seq: Sequence[int] | None = None) -> bytes:
    """An array with an element at each of these times."""
    values = {f"s{i}": 1.5 for i in range(sensors)}
    made: list[dict[str, object]] = [{"ts": NOON_US + round(s * 1e6), "values": values} for s in times_s]
    for number, one in enumerate(made if seq is not None else ()):
        one["seq"] = (seq or ())[number]
    return encode(made)


def _decode(payload: bytes) -> Work:
    def work() -> None:
        with suppress(Poison):
            JsonDecoder().decode(payload)

    return work


def _split(size: int) -> Work:
    stream = (
        b"\x30" + bytes((size >> shift & 0x7F) | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21)) + b"x" * size
    )

    def work() -> None:
        splitter = Splitter()
        assert sum(len(list(splitter.feed(stream[at : at + 4096]))) for at in range(0, len(stream), 4096)) == 1

    return work


def _encoder(series: int) -> Work:
    records = [clean(f"d{i}") for i in range(series)]

    def work() -> None:
        encoder = LineEncoder()
        for record in records:
            encoder.clean(record)

    return work


def _silent(devices: int) -> Work:
    core = Core(budgets=Budgets(100_000, 64), partitions=1, check=False)
    for number in range(devices):
        core.publish(message(telemetry_topic(f"d{number}"), b'{"values":{"a":1}}'), NOON_US)
    return lambda: core.pipelines[0].idle_windows(NOON_US + 60 * SECOND_US, NOON_US + 60 * SECOND_US)


def _alerts(devices: int) -> Work:
    world = World()
    for number in range(devices):
        world.append(window(0, 60 + 100 * (number % 2), device=f"d{number}"))
    hot = rules.parse("rules: [{name: hot, source: aggregates, window: 10s, when: mean > 50.0, clear: mean < 40.0}]")

    def work() -> None:
        Life(world, hot, lanes={Channel.LOG: Lane()}).live(batch=500)

    return work


RANDOM: Final = random.Random(3)


def _by_clock(away_s: Callable[[int], float]) -> Callable[[int], Work]:
    """Messages a second apart, each with a clock that is `away_s(i)` off."""
    return lambda n: many(
        [encode({"ts": NOON_US + round((i + away_s(i)) * SECOND_US), "values": {"a": 1}}) for i in range(n)]
    )


def _flapping(n: int) -> Work:
    levels = [20 + i % 3 + (1e6 if i > 500 and i % 40 == 0 else 0) for i in range(n)]
    return many([encode({"ts": NOON_US + i * SECOND_US, "values": {"a": level}}) for i, level in enumerate(levels)])


def _invented(topic: Callable[[int], bytes]) -> Callable[[int], Work]:
    return lambda n: many([b'{"a":%d}' % i for i in range(n)], [topic(i) for i in range(n)])


def _at(times_s: Callable[[int], list[float]]) -> Callable[[int], Work]:
    return lambda n: one_message(elements(times_s(n)))


def _counted(seq: Callable[[int], Sequence[int]], first_s: float = 0.0) -> Callable[[int], Work]:
    return lambda n: one_message(elements([first_s, *[first_s - 1] * (len(seq(n)) - 1)], seq=seq(n)))


def _of(before: bytes, piece: bytes, after: bytes = b"") -> Callable[[int], Work]:
    return lambda n: _decode(before + piece * n + after)


def _list_of(piece: bytes) -> Callable[[int], Work]:
    return lambda n: _decode(b"[" + b",".join([piece] * n) + b"]")


SCENES: Final[dict[str, tuple[int, Callable[[int], Work]]]] = {
    "array forward over 7 d": (1250, _at(lambda n: [-604_000 + i * 600_000 / n for i in range(n)])),
    "array backward over 7 d": (1250, _at(lambda n: [-i * 600_000 / n for i in range(n)])),
    "array of any times of 7 d": (1250, _at(lambda n: [-RANDOM.random() * 6e5 for _ in range(n)])),
    "array that corrects an hour": (1250, _at(lambda n: [0, *(-RANDOM.random() * 3600 for _ in range(n))])),
    "array with a clock 299 s ahead and back": (1250, _at(lambda n: [299 * (i % 2) + i / n for i in range(n)])),
    "array of one sensor each, 16 of them": (
        1200,
        lambda n: one_message(encode([{"ts": NOON_US + i, "values": {f"s{i % 16}": i}} for i in range(n)])),
    ),
    "array of every second seq": (1000, _counted(lambda n: range(0, 2 * n, 2))),
    "array that fills a hole here and there": (1000, _counted(lambda n: [10**6, *range(0, 2 * n, 2)])),
    "array with seq down": (1000, _counted(lambda n: range(4 * n, 0, -4))),
    "array with seq that restarts": (1000, _counted(lambda n: [i % 2 * 5 for i in range(n)])),
    "array of broken elements": (2000, lambda n: one_message(encode([{"values": {"a": 1}}, *[5] * n]))),
    "message with many sensors": (2000, lambda n: one_message(encode({"values": {f"s{i}": i for i in range(n)}}))),
    "message with bad values": (2000, lambda n: one_message(encode({"values": {f"s{i}": "x" for i in range(n)}}))),
    "message of text": (60_000, lambda n: one_message(b"x" * n)),
    "decode: digits": (60_000, _of(b'{"values":{"a":', b"9", b"}}")),
    "decode: many long numbers": (15, _list_of(b"9" * 4299)),
    "decode: ts of 4,200 digits": (15, _list_of(b'{"ts":-%b,"values":{"a":1}}' % (b"9" * 4200))),
    "decode: lists in lists": (60_000, _of(b"", b"[")),
    "decode: maps in maps": (10_000, _of(b"", b'{"a":')),
    "decode: wide and 15 deep": (2000, _list_of(b"[" * 15 + b"]" * 15)),
    "decode: equal keys": (6000, _of(b'{"values":{', b'"a":true,', b'"a":1}}')),
    "decode: escapes": (10_000, _of(b'{"values":{"a":"', b"\\u00e9", b'"}}')),
    "decode: open text": (30_000, _of(b'{"values":{"', b"\\\\")),
    "decode: white space": (30_000, _of(b'{"values":{"a":true', b" \n")),
    "decode: half surrogates": (10_000, _of(b'{"values":{"a":"', b"\\ud800", b'"}}')),
    "messages of a flapping sensor": (1500, _flapping),
    "messages that jump a day ahead and back": (1500, _by_clock(lambda i: i % 2 * 86_400)),
    "messages that jump a day back": (1500, _by_clock(lambda i: -(i % 2) * 86_400)),
    "messages without ts or seq, all different": (1500, lambda n: many([encode({"a": i}) for i in range(n)])),
    "messages from invented devices": (700, _invented(lambda i: telemetry_topic(f"x{i}"))),
    "messages from invented tenants": (700, _invented(lambda i: telemetry_topic("x", f"t{i}"))),
    "messages from invented sites": (1500, _invented(lambda i: telemetry_topic("x", site=f"s{i}"))),
    "messages with invented sensors": (1500, lambda n: many([encode({f"s{i}": 1}) for i in range(n)])),
    "bridge: a packet in small reads": (4_000_000, _split),
    "sink: invented series": (20_000, _encoder),
    "stream: silent devices looked at": (1000, _silent),
    "alerts: alarms of invented devices": (400, _alerts),
}


def cpu_s(work: Callable[[], Work]) -> float:
    """The least CPU time of three tries."""
    took = []
    for _ in range(3):
        todo = work()
        gc.collect()
        began = time.process_time()
        todo()
        took.append(time.process_time() - began)
    return min(took)


def measure(scene: str) -> tuple[int, float, float]:
    """The larger size, its cost in CPU s, and how much dearer a byte (or message) of it is than at a quarter."""
    size, make = SCENES[scene]
    small = cpu_s(lambda: make(size))
    large = cpu_s(lambda: make(STEP * size))
    return STEP * size, large, large / small / STEP


def main(only: Sequence[str] = ()) -> int:
    """Measure each scene; the number of those that grow faster than their input."""
    wrong = 0
    sys.stdout.write(f"{'input':46} {'size':>10} {'CPU ms':>9}  cost per piece, over that of a quarter of it\n")
    for scene in SCENES:
        if only and not any(part in scene for part in only):
            continue
        size, took, dearer = measure(scene)
        bad = dearer > WORST and took > LEAST_CPU_S
        wrong += bad
        sys.stdout.write(f"{scene:46} {size:>10,} {took * 1e3:>9.1f}  {dearer:.2f}{'  GROWS' if bad else ''}\n")
        sys.stdout.flush()
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
