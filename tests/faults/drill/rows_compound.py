"""Two faults at once: the process dies that holds what the other side could not take."""

import time

from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene
from tests.faults.drill.traces import full_window, refused_writes


def _bridge(scene: Scene) -> Bite:
    scene.plant.hold_down("kafka")
    # What the bridge holds by now is with its producer only.
    time.sleep(6.0)
    scene.plant.kill("bridge")
    scene.plant.raise_up("kafka")
    scene.healed()

    def bite() -> str:
        if not (again := scene.marked_repeats()):
            raise DidNotBite("the broker redelivered nothing")
        return f"{full_window(scene)}, {again} redelivered (DUP)"

    return bite


def _sink(scene: Scene) -> Bite:
    scene.plant.hold_down("influxdb")
    scene.patient(lambda: refused_writes(scene) > 0, 10)
    scene.steady(4.0, 6.0)
    scene.plant.kill("sink")
    scene.steady(2.0, 4.0)
    scene.plant.raise_up("influxdb")
    scene.healed()

    def bite() -> str:
        refused, lag = refused_writes(scene), scene.view.highest_lag("weir-sink")
        if not refused or lag < 1000:
            raise DidNotBite(f"{refused:.0f} writes failed, the sink was {lag} records behind")
        return f"{refused:.0f} writes failed, the sink was {lag:,} records behind"

    return bite


ROWS = (
    Row("bridge-killed-while-kafka-away", "Kafka away, and the bridge killed meanwhile", _bridge),
    Row("sink-killed-while-influxdb-away", "InfluxDB away, and the sink killed meanwhile", _sink),
)
