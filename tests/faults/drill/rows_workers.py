"""Stream workers that come and go, and one that writes after it was replaced."""

from tests.faults.drill.plant import STREAMS
from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene
from tests.faults.drill.strikes import freeze_and_thaw, kill_before_commit
from tests.faults.drill.traces import replayed

ASSIGNMENTS = 8
KILLS = 3
ZOMBIES = 3
"""Tried so often: on a busy machine the moment to freeze a worker can be missed."""


def _rebalance(scene: Scene) -> Bite:
    plant, (one, two) = scene.plant, STREAMS
    began = len(plant.assignments())
    steps = [
        (plant.join_worker, "stream-3"),
        (plant.leave_worker, one),
        (plant.join_worker, one),
        (plant.leave_worker, two),
        (plant.leave_worker, "stream-3"),
        (plant.join_worker, two),
    ]
    for step, worker in steps:
        step(worker)
        scene.steady(5.0, 7.0)
    scene.healed()

    def bite() -> str:
        moved = len(plant.assignments()) - began
        if moved < ASSIGNMENTS:
            raise DidNotBite(f"only {moved} times was a partition taken over")
        return f"{len(steps)} workers came and went, {moved} times was a partition taken over"

    return bite


def _zombie(scene: Scene) -> Bite:
    stale = 0

    def strike() -> bool:
        nonlocal stale
        stale = freeze_and_thaw(scene)
        return stale > 0

    tries = scene.try_again(strike, ZOMBIES)
    scene.healed()
    # And once more the state is ahead of what is committed: what is replayed must be skipped.
    scene.try_again(lambda: kill_before_commit(scene), KILLS)
    scene.healed()

    def bite() -> str:
        found, again = scene.view.gauges.rise("stream", "weir_stream_stale_states_total"), replayed(scene)
        text = f"{stale} states written late, freeze {tries}; {found:.0f} found stale at recovery; {again:.0f} replayed"
        if not found or not again:
            raise DidNotBite(text)
        return text

    return bite


ROWS = (
    Row("rebalance", "stream workers join and leave under load", _rebalance),
    Row("zombie-worker", "a stream worker frozen past its session, thawed, and its successor killed", _zombie),
)
