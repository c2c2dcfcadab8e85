"""Faults that need their moment: between a stream worker's state and its commit, and inside its checkpoint."""

import time
from collections import Counter

from tests.faults.drill.plant import STREAMS
from tests.faults.drill.scene import Scene
from tests.faults.drill.traces import replayed

CHECKPOINT_S = 10.0
"""WEIR_STREAM__CHECKPOINT_S as shipped."""
COMMIT_LATENCY_S = 0.7
"""Added each way, so that a commit reaches Kafka this much after the state that it covers."""
FREEZE_LATENCY_S = 2.0


def kill_before_commit(scene: Scene) -> bool:
    """SIGKILL the stream worker that has just written its state, before its commit.

    Returns whether its successor was given messages again that the state has applied already.
    """
    state, link = scene.view.state, scene.plant.links["stream-kafka"]
    link.slow(COMMIT_LATENCY_S)
    state.follow()
    before = Counter(state.written)

    def written() -> set[int]:
        state.follow()
        return {partition for partition, count in state.written.items() if count > before[partition]}

    owners = scene.plant.owners()
    wrote = min(scene.until(written, 40, "a stream worker writes its state"))
    scene.plant.kill(owners[wrote])
    link.slow(0.0)
    return scene.patient(lambda: replayed(scene) > 0, 20)


def freeze_and_thaw(scene: Scene) -> int:
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
    link.slow(FREEZE_LATENCY_S)
    time.sleep(2.0 + FREEZE_LATENCY_S)
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
