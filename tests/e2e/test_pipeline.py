"""10,000 messages from 50 devices, 200 of them broken in ten ways: everything is accounted for, as promised.

The second run does the same while the stream worker is killed in the middle.
"""

import json
import signal
import time
from collections import Counter
from threading import Condition

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.system import SERVICES, Weir, eventually

DEVICES = 50
PER_DEVICE = 196
BROKEN_OF_EACH = 20
SENSORS = ("temperature", "pressure", "flow")
STORED_WITHIN_S = 240.0


def nested(levels: int) -> bytes:
    return b'{"values":{"temperature":' + b"[" * levels + b"]" * levels + b"}}"


BROKEN = {
    "malformed": lambda n: b"temperature=%d" % n,
    "wrong_shape": lambda n: (b'{"values": [1, 2]}', b'"21.5"', b'{"seq": "x", "values": {"a": 1}}')[n % 3],
    "not_a_number": lambda n: (b'{"values":{"temperature":NaN}}', b'{"values":{"temperature":"warm"}}')[n % 2],
    "not_a_number/infinity": lambda n: (b'{"values":{"flow":Infinity}}', b'{"values":{"flow":-1e999}}')[n % 2],
    "malformed/empty": lambda _: b"",
    "too_large": lambda n: b'{"values":{"temperature":%d}}' % n + b" " * 300 * 1024,
    "too_deep": lambda n: nested((200, 5_000)[n % 2]),
    "not_utf8": lambda n: b'{"values":{"temp\xff\xfe":%d}}' % n,
    "bad_time": lambda n: (b'{"ts":-5,"values":{"flow":1}}', b'{"ts":"yesterday","values":{"flow":1}}')[n % 2],
    "unroutable": lambda n: b'{"values":{"temperature":%d}}' % n,
}


class Publisher:
    """Publishes at QoS 1 and counts what the broker acknowledged."""

    def __init__(self, weir: Weir) -> None:
        self._acknowledged = 0
        self._changed = Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"e2e-{time.time_ns()}", protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(200)
        self._client.on_publish = self._on_publish
        self._client.connect(*weir.stack.mqtt_address)
        self._client.loop_start()
        self.published = 0

    def _on_publish(self, *_) -> None:
        with self._changed:
            self._acknowledged += 1
            self._changed.notify()

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)
        self.published += 1

    def wait(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._acknowledged == self.published, 120)
        self._client.disconnect()
        self._client.loop_stop()


def readings_of(device: int, start_ms: int) -> list[tuple[int, dict[str, float]]]:
    """(event time in ms, values); values are such that a reading counted twice or never shows in a sum."""
    rng = np.random.default_rng(device)
    return [
        (
            start_ms + 1000 * n,
            {
                "temperature": round(20 + device + rng.normal(), 6),
                "pressure": round(3 + n / 64 + device / 1024, 6),
                "flow": round(float(rng.exponential(5)), 6),
            },
        )
        for n in range(PER_DEVICE)
    ]


def publish_everything(weir: Weir, tenant: str, start_ms: int, *, half_way=lambda: None) -> dict[str, list]:
    publisher = Publisher(weir)
    good = {f"d{d:02d}": readings_of(d, start_ms) for d in range(DEVICES)}
    broken = [(kind, n) for n in range(BROKEN_OF_EACH) for kind in BROKEN]
    for n in range(PER_DEVICE):
        if n == PER_DEVICE // 2:
            half_way()
        for name, readings in good.items():
            at_ms, values = readings[n]
            body = json.dumps({"ts": at_ms, "seq": n, "values": values}).encode()
            publisher.publish(f"weir/v1/{tenant}/north/{name}/telemetry", body)
        while len(broken) > BROKEN_OF_EACH * len(BROKEN) * (1 - (n + 1) / PER_DEVICE):
            kind, number = broken.pop(0)
            topic = f"weir/v1/{tenant}/north/d{number:02d}/telemetry"
            if kind == "unroutable":
                topic = f"weir/v1/{tenant}/nobody-listens/{number}"
            publisher.publish(topic, BROKEN[kind](number))
    publisher.wait()
    assert publisher.published == DEVICES * PER_DEVICE + BROKEN_OF_EACH * len(BROKEN) == 10_000
    return good


def stored(weir: Weir, tenant: str) -> int:
    rows = weir.influx(f"SELECT count(value) FROM readings WHERE tenant = '{tenant}'")
    return rows[0]["count"] if rows else 0


def check_readings(weir: Weir, tenant: str, good: dict[str, list]) -> None:
    rows = weir.influx(
        f"SELECT count(value), sum(value) FROM readings WHERE tenant = '{tenant}' GROUP BY device, sensor"
    )
    got = {(row["device"], row["sensor"]): (row["count"], row["sum"]) for row in rows}
    want = {
        (name, sensor): (PER_DEVICE, pytest.approx(sum(values[sensor] for _, values in readings), rel=1e-12))
        for name, readings in good.items()
        for sensor in SENSORS
    }
    assert got == want


def check_dead_letters(weir: Weir, tenant: str) -> None:
    letters = [r for r in weir.records("telemetry.dead-letter") if f"/{tenant}/" in r["mqtt_topic"]]
    want = Counter(kind.split("/")[0] for kind in BROKEN for _ in range(BROKEN_OF_EACH))
    assert Counter(letter["reason"] for letter in letters) == want


def check_aggregates(weir: Weir, tenant: str, good: dict[str, list]) -> None:
    """Every closed one-minute window equals a recomputation with numpy."""
    rows = weir.influx(f"SELECT * FROM aggregates_1m WHERE tenant = '{tenant}'", "telemetry_long")
    got = {(row["device"], row["sensor"], row["time"] // 1_000_000): row for row in rows}
    checked = 0
    for name, readings in good.items():
        closed_before = readings[-1][0] - 10_000
        starts = {at - at % 60_000 for at, _ in readings}
        for start in {s for s in starts if s + 60_000 <= closed_before}:
            inside = [values for at, values in readings if start <= at < start + 60_000]
            for sensor in SENSORS:
                values = np.array([v[sensor] for v in inside])
                row = got[name, sensor, start]
                assert row["count"] == len(values)
                want = [values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0, values.min(), values.max()]
                assert [row["mean"], row["std"], row["min"], row["max"]] == pytest.approx(want, rel=1e-9)
                assert [row["p50"], row["p95"]] == pytest.approx(np.percentile(values, [50, 95]), rel=1e-9)
                checked += 1
    assert checked >= DEVICES * len(SENSORS) * 2


def check_ledger(weir: Weir, received: float) -> None:
    eventually(
        lambda: weir.metric("stream", "weir_stream_messages_received_total") >= received, 60, "the ledger has it all"
    )
    count = {
        name: weir.metric("stream", f"weir_stream_{name}_total")
        for name in (
            *("messages_received", "messages_decoded", "messages_redelivered", "messages_dead_lettered"),
            *("readings_decoded", "readings_stored", "readings_duplicates", "readings_dead_lettered"),
        )
    }
    assert count["messages_received"] == (
        count["messages_decoded"] + count["messages_redelivered"] + count["messages_dead_lettered"]
    )
    assert count["readings_decoded"] == (
        count["readings_stored"] + count["readings_duplicates"] + count["readings_dead_lettered"]
    )


def check_everything(weir: Weir, tenant: str, good: dict[str, list], received_before: float) -> None:
    want = DEVICES * PER_DEVICE * len(SENSORS)
    eventually(lambda: stored(weir, tenant) == want, STORED_WITHIN_S, f"{want} readings are stored")
    check_readings(weir, tenant, good)
    eventually(
        lambda: len([r for r in weir.records("telemetry.dead-letter") if f"/{tenant}/" in r["mqtt_topic"]]) >= 200,
        60,
        "200 dead letters",
    )
    check_dead_letters(weir, tenant)
    check_ledger(weir, received_before + 10_000)
    eventually(weir.sink_is_done, 60, "the sink has caught up")
    check_aggregates(weir, tenant, good)
    states = weir.stack.states()
    assert all(states[service].state == "RUNNING" for service in SERVICES)
    assert weir.all_ready()


def test_ten_thousand_messages_are_accounted_for(weir):
    before = weir.metric("stream", "weir_stream_messages_received_total")
    pids = {service: weir.stack.pid(service) for service in SERVICES}
    good = publish_everything(weir, "calm", round(time.time() * 1000) - 250_000)
    check_everything(weir, "calm", good, before)
    assert {service: weir.stack.pid(service) for service in SERVICES} == pids, "a service died on the way"


def test_a_stream_worker_killed_in_the_middle_changes_nothing(weir):
    before = weir.metric("stream", "weir_stream_messages_received_total")
    killed = weir.stack.pid("stream")
    good = publish_everything(
        weir,
        "killed",
        round(time.time() * 1000) - 250_000,
        half_way=lambda: weir.stack.signal("stream", signal.SIGKILL),
    )
    eventually(lambda: weir.stack.pid("stream") not in (0, killed), 60, "the supervisor started the worker again")
    check_everything(weir, "killed", good, before)
