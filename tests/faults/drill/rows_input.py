"""What devices can do: wrong clocks, poison, a burst, everything three times."""

import random
import time

from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene

DAY_US = 86_400_000_000
CLOCKS_US = {0: DAY_US, 4: -DAY_US, 7: DAY_US, 11: -DAY_US}
BURST = 10.0
BURST_S = 30.0
MOST_MIB = 400
"""Of any of Weir's processes, also in a burst."""


def _clocks(scene: Scene) -> Bite:
    scene.steady(20.0, 22.0)
    scene.healed()

    def bite() -> str:
        now_us, newest = time.time_ns() // 1000, scene.newest_us()
        off_s = {i: (newest[scene.workload.device_id(i)] - now_us) / 1e6 for i in CLOCKS_US}
        # Ahead: the bridge's clock in its place. Behind: as sent, for it may be a stored buffer.
        wrong = {i: s for i, s in off_s.items() if abs(s - min(0, CLOCKS_US[i]) / 1e6) > 300}
        if wrong:
            raise DidNotBite(f"event times are off by {wrong} s")
        return "a day ahead: stored at the time received; a day behind: stored as sent"

    return bite


def poison(chance: random.Random) -> list[bytes]:
    """One of each kind, each with bytes of its own."""
    mark = b"%016x" % chance.getrandbits(64)
    return [
        b'{"broken ' + mark,
        b'{"ts": "\xff\xfe' + mark + b'"}',
        b"[" * 5000 + mark,
        b'"text ' + mark + b'"',
        b'{"values":{"' + mark + b' bad":1}}',
        b'{"ts":-5,"seq":1,"values":{"x' + mark + b'":1}}',
        b'{"ts":1,"values":{"x' + mark + b'":"text"}}',
        b'{"device":"someone-else","values":{"x' + mark + b'":1}}',
        b"",
        b"\x00" * 64 + mark,
    ]


def _poison(scene: Scene) -> Bite:
    rounds = 3
    kinds = 0
    for _ in range(rounds):
        payloads = [payload for payload in poison(scene.chance) if payload]
        kinds = len(payloads)
        for number, payload in enumerate(payloads):
            scene.fleet.publish_raw((number * 3) % scene.workload.devices, payload)
        scene.steady(2.0, 4.0)
    scene.healed()

    def bite() -> str:
        buried = scene.view.gauges.rise("stream", "weir_stream_messages_dead_lettered_total") + scene.view.gauges.rise(
            "stream", "weir_stream_readings_dead_lettered_total"
        )
        if buried < rounds * kinds:
            raise DidNotBite(f"{buried:.0f} of {rounds * kinds} poisoned messages were dead-lettered")
        return f"{kinds} kinds, {rounds * kinds} messages, {buried:.0f} dead letters"

    return bite


def _burst(scene: Scene) -> Bite:
    scene.fleet.burst(BURST, BURST_S)
    time.sleep(BURST_S)
    scene.healed()

    def bite() -> str:
        carried = scene.view.gauges.rise("bridge", "weir_bridge_received_messages_total")
        expected = scene.workload.devices * scene.workload.per_second * BURST * BURST_S
        memory = {n: m for n, m in scene.view.gauges.resident_mib().items() if n not in ("kafka", "influxdb")}
        text = (
            f"{carried:,.0f} messages carried, {scene.view.highest_lag('weir-stream'):,} behind at most; "
            + ", ".join(f"{name} {size} MiB" for name, size in sorted(memory.items()))
        )
        if carried < 0.8 * expected or max(memory.values()) > MOST_MIB:
            raise DidNotBite(text)
        return text

    return bite


def _storm(scene: Scene) -> Bite:
    scene.steady(15.0, 18.0)
    scene.healed()

    def bite() -> str:
        recognised = scene.view.gauges.rise("stream", "weir_stream_messages_redelivered_total")
        made = scene.fleet.counts().made
        if recognised < 1.8 * made:
            raise DidNotBite(f"{recognised:.0f} repeats of {made} messages were recognised")
        return f"{recognised:,.0f} repeats of {made:,} messages recognised"

    return bite


ROWS = (
    Row("device-clocks", "clocks of four devices a day ahead, a day behind", _clocks, {"clock_offset_us": CLOCKS_US}),
    Row("poison", "poison of nine kinds at the head of partitions", _poison),
    Row("burst", f"{BURST:.0f} times the rate for {BURST_S:.0f} s", _burst),
    Row("duplicate-storm", "every message published three times", _storm, {"copies": 3}),
)
