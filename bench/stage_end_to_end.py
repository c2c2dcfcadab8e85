"""End to end: publish -> visible in InfluxDB, with all of Weir, the brokers and the load generator on this machine.

First the most that flows with flat lag: a flood tells where to begin, then a rate is held, lowered until what waits no
longer grows. Then the latency of probes at parts of that rate: from the time that a probe was *due* (what the load
generator is late by counts) until a query has shown it. A query is asked 10 ms after the last was answered: without
that pause the asking takes more CPU than bridge, stream and sink together, from the same two cores.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from bench.figures import Entry, percentile
from bench.influx import RunDatabase
from bench.kafka_topics import RunTopics
from bench.load import Load
from bench.processes import Contender, ContenderFailed
from bench.servers import Servers, weir_environment
from bench.stage_bridge import end_session, wait_subscribed
from bench.workload import SENSORS, device_name, topic_of
from schemas import influx, topics

MODEL: Final = "light"
PROBE: Final = "probe"
PROBE_EVERY_S: Final = 0.02
_PAUSE_S: Final = 0.01
SHARES: Final = (0.25, 0.5, 0.75)
_LOWER: Final = 0.85
_MOST_TRIES: Final = 6
_SETTLE_S: Final = 60.0
_AHEAD_S: Final = 0.5
_MAKING_S: Final = 15e-6
"""More than the load generator needs to make a message beforehand."""


class Extent(NamedTuple):
    """How long things are measured: seconds, messages, devices."""

    flood_messages: int
    hold_s: float
    latency_s: float
    devices: int


class Weir(NamedTuple):
    """The running pipeline."""

    servers: Servers
    there: RunTopics
    database: RunDatabase
    services: Mapping[str, Contender]

    def stored(self) -> int:
        """Messages whose readings InfluxDB has confirmed."""
        for service in self.services.values():
            service.check()
        return self.there.committed(f"{self.there.settings.topic_prefix}sink", topics.CLEAN)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by process."""
        own = {name: service.cpu_s() for name, service in self.services.items()}
        return {**own, **self.servers.cpu_s(), "load generator": time.process_time()}


@contextmanager
def pipeline(servers: Servers) -> Iterator[Weir]:
    """Bridge, stream and sink with their defaults."""
    folder = servers.folder("end-to-end")
    types = folder / "device_types.yaml"
    types.write_text(json.dumps({"types": {"generic": {"model": {"name": MODEL}}}}), encoding="utf-8")
    with servers.run_topics() as there:
        prefix = there.settings.topic_prefix
        database = RunDatabase(servers.influx, prefix.rstrip("."))
        environment = weir_environment(servers, prefix) | {
            "WEIR_BRIDGE__CLIENT_ID": f"client-{prefix}",
            "WEIR_STREAM__GROUP": f"{prefix}stream",
            "WEIR_STREAM__DEVICE_TYPES_FILE": str(types),
            "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
            "WEIR_SINK__GROUP": f"{prefix}sink",
            "WEIR_INFLUX__BUCKET": database.name,
            "WEIR_INFLUX__BUCKET_LONG": database.name,
        }
        services = {
            name: Contender([sys.executable, "-m", "services.cli", name], environment, folder / f"{name}.log")
            for name in ("bridge", "stream", "sink")
        }
        weir = Weir(servers, there, database, services)
        try:
            wait_subscribed(servers, there, services["bridge"])
            yield weir
        finally:
            for service in services.values():
                service.stop(15.0)
            end_session(servers, f"client-{prefix}")
            database.close()


def measure(servers: Servers, extent: Extent) -> Entry:
    """The figures of the stage. Raises `ContenderFailed`."""
    with pipeline(servers) as weir:
        wait_for(weir, 1)
        flood_per_s = _flood(weir, extent)
        rate, split = _sustained(weir, extent, flood_per_s * 0.95)
        latencies = {f"{share:.0%}": _latency(weir, extent, rate * share) for share in SHARES}
    return {
        "per_s": round(rate),
        "readings_per_s": round(rate * len(SENSORS)),
        "held_s": extent.hold_s,
        "flood_per_s": round(flood_per_s),
        "cpu_s_per_million": round(sum(split.values()), 1),
        "cpu_s_per_million_by_process": {name: round(cost, 1) for name, cost in split.items()},
        "latency_ms": latencies,
        "notes": f"Models: the `{MODEL}` tier; brokers and load generator run on the same cores",
    }


def wait_for(weir: Weir, messages: int, within_s: float = _SETTLE_S) -> None:
    """Wait until so many messages are stored in all, or as many as there are on telemetry.clean and standing."""
    until = time.monotonic() + within_s
    while weir.stored() < messages:
        if time.monotonic() > until:
            raise ContenderFailed(f"{weir.stored()} of {messages} messages stored after {within_s:.0f} s")
        time.sleep(0.2)


def _messages(count: int, devices: int, start_at: float, per_second: float) -> Iterator[tuple[str, bytes]]:
    """(MQTT topic, payload), each with the time that it is due as its `ts`; the devices in turn."""
    names = [topic_of(device_name(index)) for index in range(devices)]
    for number in range(count):
        at_ms = int((start_at + number / per_second) * 1000)
        wave = number % 97 / 97
        values = f'"temperature":{20 + wave:.3f},"pressure":{1 + wave:.3f},"flow":{5 - wave:.3f}'
        yield names[number % devices], f'{{"ts":{at_ms},"seq":{number // devices},"values":{{{values}}}}}'.encode()


def _flood(weir: Weir, extent: Extent) -> float:
    """Messages a second from the first to the last of a flood stored."""
    count = extent.flood_messages
    before = weir.stored()
    load = Load(weir.servers.mqtt, list(_messages(count, extent.devices, time.time() - 1.0, count)))
    began = time.monotonic()
    flood = threading.Thread(target=load.flood, daemon=True)
    flood.start()
    wait_for(weir, before + count, 300.0)
    took_s = time.monotonic() - began
    flood.join(30)
    load.close()
    return count / took_s


class Held(NamedTuple):
    """A rate that was held: the load generator's longest delay, and CPU seconds by process until all was stored."""

    late_s: float
    cpu_s: dict[str, float]


def _hold(weir: Weir, extent: Extent, per_second: float, seconds: float, each: Callable[[int], None]) -> Held:
    """Publish at a rate for a while; `each` gets what waits, twice a second."""
    count = int(per_second * seconds)
    before = weir.stored()
    start_at = time.time() + count * _MAKING_S + _AHEAD_S
    load = Load(weir.servers.mqtt, list(_messages(count, extent.devices, start_at, per_second)))
    sender = threading.Thread(target=load.paced, args=(per_second, start_at), daemon=True)
    sender.start()
    time.sleep(max(0.0, start_at - time.time()))
    cpu_before = weir.cpu_s()
    while (now := time.time()) < start_at + seconds:
        each(int((now - start_at) * per_second) - (weir.stored() - before))
        time.sleep(0.5)
    sender.join(60)
    load.close()
    wait_for(weir, before + count, 120.0)
    cpu_after = weir.cpu_s()
    return Held(load.late_s, {name: cpu_after[name] - cpu_before[name] for name in cpu_after})


def _sustained(weir: Weir, extent: Extent, per_second: float) -> tuple[float, dict[str, float]]:
    """The highest rate tried at which what waits does not grow, and CPU seconds per million messages by process."""
    for _ in range(_MOST_TRIES):
        waiting: list[int] = []
        held = _hold(weir, extent, per_second, extent.hold_s, waiting.append)
        if is_flat(waiting, per_second):
            millions = per_second * extent.hold_s / 1e6
            return per_second, {name: cpu_s / millions for name, cpu_s in held.cpu_s.items()}
        per_second *= _LOWER
    raise ContenderFailed(f"lag grew at every rate tried, {per_second / _LOWER:.0f}/s the last")


def is_flat(waiting: list[int], per_second: float) -> bool:
    """Whether what waits has stopped growing: its last third no higher than its second, by half a second's messages.

    >>> is_flat([0, 90, 100, 110, 100, 90], 100)
    True
    >>> is_flat([0, 100, 200, 300, 400, 500], 100)
    False
    """
    third = max(1, len(waiting) // 3)
    middle, last = waiting[third : 2 * third], waiting[-third:]
    return sum(last) / len(last) <= sum(middle) / len(middle) + 0.5 * per_second


def _latency(weir: Weir, extent: Extent, per_second: float) -> Entry:
    """Percentiles of the probes' way, in ms."""
    start_at = time.time() + per_second * extent.latency_s * _MAKING_S + 2 * _AHEAD_S
    count = int(extent.latency_s / PROBE_EVERY_S)
    due_ms = [int((start_at + number * PROBE_EVERY_S) * 1000) for number in range(count)]
    probes = [
        (topic_of(PROBE), json.dumps({"ts": at, "seq": number, "values": {"temperature": 20.0 + number % 7}}).encode())
        for number, at in enumerate(due_ms)
    ]
    load = Load(weir.servers.mqtt, probes, connections=1)
    sender = threading.Thread(target=load.paced, args=(1 / PROBE_EVERY_S, start_at), daemon=True)
    seen: dict[int, float] = {}
    watcher = threading.Thread(target=_watch, args=(weir, due_ms, seen), daemon=True)
    sender.start()
    watcher.start()
    held = _hold(weir, extent, per_second, extent.latency_s, lambda _waiting: None)
    sender.join(30)
    watcher.join(30)
    load.close()
    if len(seen) != count:
        raise ContenderFailed(f"{len(seen)} of {count} probes were seen in InfluxDB")
    took_ms = [seen[at] * 1000 - at for at in due_ms]
    return {
        "rate_per_s": round(per_second),
        "p50": round(percentile(took_ms, 0.5)),
        "p99": round(percentile(took_ms, 0.99)),
        "p99.9": round(percentile(took_ms, 0.999)),
        "probes": count,
        "load_generator_late_ms": round(1000 * max(held.late_s, load.late_s)),
    }


def _watch(weir: Weir, due_ms: list[int], seen: dict[int, float]) -> None:
    """Ask for probes that were not seen yet until all were, or a minute after the last was due."""
    database = RunDatabase(weir.servers.influx, weir.database.name)
    following = 0
    while len(seen) < len(due_ms) and time.time() < due_ms[-1] / 1000 + 60:
        since = (due_ms[following] - 1) * 1_000_000
        rows: list[list[Any]] = database.query(
            f"SELECT value FROM {influx.READINGS} WHERE device = '{PROBE}' AND time >= {since}"
        )
        now = time.time()
        for at_ns, _ in rows:
            seen.setdefault(at_ns // 1_000_000, now)
        while following < len(due_ms) - 1 and due_ms[following] in seen:
            following += 1
        time.sleep(_PAUSE_S)
