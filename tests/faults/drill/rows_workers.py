"""Stream workers that come and go, and one that writes after it was replaced."""

import time

from tests.faults.drill.plant import STREAMS
from tests.faults.drill.row import Row
from tests.faults.drill.rows_kills import TRIES, kill_before_commit, replayed
from tests.faults.drill.scene import Bite, DidNotBite, Scene

ASSIGNMENTS = 8
ZOMBIES = 3
"""Tried so often: on a busy machine the moment to freeze a worker can be missed."""
CHECKPOINT_S = 10.0
"""WEIR_STREAM__CHECKPOINT_S as shipped."""
LATENCY_S = 2.0


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
        stale = _freeze_and_thaw(scene)
        return stale > 0

    tries = scene.try_again(strike, ZOMBIES)
    scene.healed()
    # And once more the state is ahead of what is committed: what is replayed must be skipped.
    scene.try_again(lambda: kill_before_commit(scene), TRIES)
    scene.healed()

    def bite() -> str:
        found, again = scene.view.gauges.rise("stream", "weir_stream_stale_states_total"), replayed(scene)
        text = f"{stale} states written late, freeze {tries}; {found:.0f} found stale at recovery; {again:.0f} replayed"
        if not found or not again:
            raise DidNotBite(text)
        return text

    return bite


def _freeze_and_thaw(scene: Scene) -> int:
    """How many states the thawed worker wrote after its successor's. That one is then killed at once: the third owner
    recovers from what both have written."""
    plant, state, link = scene.plant, scene.view.state, scene.plant.links["stream-kafka"]
    owners = plant.owners()
    zombie = scene.chance.choice(sorted(set(owners.values()) & set(STREAMS)))
    mine = {partition for partition, owner in owners.items() if owner == zombie}
    # Frozen while its next checkpoint waits for its outputs to be durable, it knows what it will write as its state:
    # it writes that when it wakes up, before it can learn that it was replaced. A slow link makes that wait long.
    _next_checkpoint(scene, mine)
    time.sleep(CHECKPOINT_S - 2.0)
    link.slow(LATENCY_S)
    time.sleep(2.0 + LATENCY_S)
    plant.freeze(zombie)
    link.slow(0.0)
    _next_checkpoint(scene, mine)
    before = state.stale.total()
    plant.thaw(zombie)

    def stale() -> int:
        state.follow()
        return state.stale.total() - before

    if scene.patient(lambda: stale() > 0, 5.0):
        plant.kill(*(set(STREAMS) - {zombie}))
    return stale()


def _next_checkpoint(scene: Scene, partitions: set[int]) -> None:
    """Until the owner of these partitions has written states of all of them."""
    state = scene.view.state
    state.follow()
    before = {partition: state.written[partition] for partition in partitions}

    def written() -> bool:
        state.follow()
        return all(state.written[partition] > count for partition, count in before.items())

    scene.until(written, 60, "states are written")


ROWS = (
    Row("rebalance", "stream workers join and leave under load", _rebalance),
    Row("zombie-worker", "a stream worker frozen past its session, thawed, and its successor killed", _zombie),
)
