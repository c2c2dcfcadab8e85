"""SIGKILL of each service and each server, and SIGTERM of everything."""

import time

from tests.faults.drill.plant import SERVICES, STREAMS
from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene
from tests.faults.drill.strikes import COMMIT_LATENCY_S, kill_before_commit
from tests.faults.drill.traces import full_window, refused_writes, replayed

TRIES = 4
"""A kill can fall between two messages, or right after a commit: tried so often until it shows."""


def _bridge(scene: Scene) -> Bite:
    def strike() -> bool:
        scene.steady(1.0, 3.0)
        scene.plant.kill("bridge")
        scene.plant.wait_ready(["bridge"])
        time.sleep(1.0)
        return scene.marked_repeats() > 0

    tries = scene.try_again(strike, TRIES)
    scene.healed()
    return lambda: f"{scene.marked_repeats()} messages redelivered by the broker (DUP), kill {tries}"


def _stream_one(scene: Scene) -> Bite:
    tries = scene.try_again(lambda: kill_before_commit(scene), TRIES)
    scene.healed()
    return lambda: f"{replayed(scene):.0f} messages replayed and skipped, kill {tries}"


def _stream_both(scene: Scene) -> Bite:
    scene.steady(4.0, 8.0)
    scene.plant.kill(*STREAMS)
    scene.plant.wait_ready(STREAMS)
    scene.healed()

    def bite() -> str:
        if not (repeats := scene.repeats()):
            raise DidNotBite("no clean record was published again")
        return f"{repeats} clean records published again, with the same bytes"

    return bite


def _sink(scene: Scene) -> Bite:
    # Held for a moment, each write is in flight for most of the time: the kill leaves one without its commit.
    scene.plant.influx.delay(0.5)
    scene.steady(1.0, 3.0)
    scene.plant.kill("sink")
    scene.plant.influx.delay(0.0)
    scene.healed()

    def bite() -> str:
        if (lag := scene.view.highest_lag("weir-sink")) < 500:
            raise DidNotBite(f"the sink was never more than {lag} records behind")
        return f"the sink was {lag:,} records behind"

    return bite


def _alerts(scene: Scene) -> Bite:
    def repeats() -> float:
        return scene.view.gauges.rise("alerts", "weir_alerts_ignored_records_total", 'reason="repeat"')

    def strike() -> bool:
        link, states = scene.plant.links["alerts-kafka"], scene.view.alert_state
        link.slow(COMMIT_LATENCY_S / 2)
        before = states.follow()
        scene.until(lambda: states.follow() > before, 40, "alerts write their state")
        scene.plant.kill("alerts")
        link.slow(0.0)
        scene.plant.wait_ready(["alerts"])
        return scene.patient(lambda: repeats() > 0, 20)

    tries = scene.try_again(strike, TRIES)
    scene.healed()
    return lambda: f"{repeats():.0f} records read again and recognised, kill {tries}"


def _kafka(scene: Scene) -> Bite:
    scene.plant.kill("kafka")
    time.sleep(2.0)
    scene.plant.stack.wait_servers_ready()
    scene.healed()
    return lambda: full_window(scene)


def _mosquitto(scene: Scene) -> Bite:
    scene.plant.kill("mosquitto")
    time.sleep(1.0)
    scene.plant.stack.wait_servers_ready()
    scene.healed()

    def bite() -> str:
        again = scene.fleet.counts().reconnects
        bridge = scene.view.gauges.rise("bridge", "weir_bridge_connections_total")
        if again < scene.workload.devices or not bridge:
            raise DidNotBite(f"{again} devices and {bridge:.0f} bridges connected anew")
        return f"{again} devices and the bridge connected anew"

    return bite


def _influxdb(scene: Scene) -> Bite:
    scene.plant.hold_down("influxdb")
    scene.steady(6.0, 10.0)
    scene.plant.raise_up("influxdb")
    scene.healed()

    def bite() -> str:
        if not (refused := refused_writes(scene)):
            raise DidNotBite("no write failed")
        return f"{refused:.0f} writes failed, the sink was {scene.view.highest_lag('weir-sink'):,} records behind"

    return bite


def _terminate(scene: Scene) -> Bite:
    order = list(SERVICES)
    scene.chance.shuffle(order)
    ended = scene.plant.terminate(order)
    scene.plant.raise_up(*order)
    scene.healed()

    def bite() -> str:
        bad = {name: end for name, end in ended.items() if end[0] > 10.0 or end[1] != "exit status 0"}
        if bad:
            raise DidNotBite(f"not in good order within 10 s: {bad}")
        slowest = max(ended, key=lambda name: ended[name][0])
        return f"{', '.join(order)}: exit status 0 each, the slowest ({slowest}) after {ended[slowest][0]:.1f} s"

    return bite


ROWS = (
    Row("kill-bridge", "SIGKILL of the bridge", _bridge),
    Row("kill-stream-one", "SIGKILL of one stream worker of two, between state and commit", _stream_one),
    Row("kill-stream-both", "SIGKILL of both stream workers", _stream_both),
    Row("kill-sink", "SIGKILL of the sink, with a write in flight", _sink),
    Row("kill-alerts", "SIGKILL of alerts, between state and commit", _alerts),
    Row("kill-kafka", "SIGKILL and restart of Kafka", _kafka),
    Row("kill-mosquitto", "SIGKILL and restart of Mosquitto", _mosquitto, gaps_allowed=True),
    Row("kill-influxdb", "SIGKILL of InfluxDB, away for 8 s", _influxdb),
    Row("terminate-all", "SIGTERM of every service, in random order", _terminate),
)
