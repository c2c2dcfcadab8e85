"""What a fault leaves behind, by which a row proves that it bit."""

from tests.faults.drill.scene import DidNotBite, Scene

RECEIVE_MAXIMUM = 256
BRIDGE_MIB = 150
"""With Kafka away the bridge must not hold in memory what it cannot hand over."""


def replayed(scene: Scene) -> float:
    """Records that came again after a takeover, at or below what the state had applied: skipped."""
    return scene.view.gauges.rise("stream", "weir_stream_replayed_messages")


def full_window(scene: Scene) -> str:
    """That the bridge has held back acknowledgements until its receive maximum was reached, in little memory."""
    unacked = scene.view.gauges.highest("bridge", "weir_bridge_unacked_messages")
    memory = scene.view.gauges.resident_mib()["bridge"]
    text = f"the bridge held {unacked:.0f} messages unacknowledged, in {memory} MiB"
    if unacked < RECEIVE_MAXIMUM or memory > BRIDGE_MIB:
        raise DidNotBite(text)
    return text


def refused_writes(scene: Scene) -> float:
    """Writes that the sink was told to try later, or that nobody answered."""
    return scene.view.gauges.rise("sink", "weir_sink_writes_total", 'reason="later"')
