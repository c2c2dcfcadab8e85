"""SIGKILL of each service and each server, and SIGTERM of everything."""

from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, Scene, bite_of

KILLS = 6
"""A kill can fall between two messages, or right after a checkpoint: tried so often until it shows."""


def _bridge(scene: Scene) -> Bite:
    def strike() -> None:
        scene.steady(1.0, 3.0)
        scene.plant.kill("bridge")
        scene.plant.wait_ready(["bridge"])

    tries = scene.repeat_until_bitten(strike, lambda: scene.marked_repeats() > 0, KILLS)
    scene.healed()
    return lambda: f"{scene.marked_repeats()} messages sent again by the broker (DUP), kill {tries}"


ROWS = (Row("kill-bridge", "SIGKILL of the bridge", _bridge),)
_ = bite_of
