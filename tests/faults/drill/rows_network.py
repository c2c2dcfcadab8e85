"""Each link cut, and then half-open: bytes vanish both ways, and nobody is told."""

import time
from collections.abc import Callable

from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene
from tests.faults.drill.traces import refused_writes

CUTS = 3
HALF_OPEN_S = 20.0

Trace = Callable[[Scene], float]
"""How much the party that depends on a link has noticed."""


def _reconnects(scene: Scene) -> float:
    return scene.fleet.counts().reconnects


def _bridge_connections(scene: Scene) -> float:
    return scene.view.gauges.rise("bridge", "weir_bridge_connections_total")


def _unacked(scene: Scene) -> float:
    return scene.view.gauges.highest("bridge", "weir_bridge_unacked_messages")


def _unsent_alarms(scene: Scene) -> float:
    return scene.view.gauges.rise("alerts", "weir_alerts_notification_failures_total")


def _behind(group: str) -> Trace:
    return lambda scene: scene.view.highest_lag(group)


def _link(name: str, noticed: Trace, least: float, what: str, *, wait_s: float = 0.0, hold_s: float = 0.0) -> Row:
    """`least`: so much must be noticed, in units of `what`. Half-open until then, at most `hold_s` longer."""

    def play(scene: Scene) -> Bite:
        link = scene.plant.links[name]
        cut, swallowed = link.connections_cut, link.bytes_swallowed
        for _ in range(CUTS):
            link.cut()
            scene.steady(1.0, 2.0)
        time.sleep(wait_s)
        link.half_open()
        time.sleep(HALF_OPEN_S)
        scene.patient(lambda: noticed(scene) >= least, hold_s)
        link.heal()
        scene.healed()

        def bite() -> str:
            cuts, lost = link.connections_cut - cut, link.bytes_swallowed - swallowed
            seen = noticed(scene)
            text = f"{cuts} connections reset, {lost:,} bytes swallowed, {seen:,.0f} {what}"
            if not cuts or not lost or seen < least:
                raise DidNotBite(text)
            return text

        return bite

    return Row(f"link-{name}", f"{name.replace('-', ' to ')}: cut, then half-open for {HALF_OPEN_S:.0f} s", play)


ROWS = (
    _link("device-mosquitto", _reconnects, 20, "reconnects"),
    _link("mosquitto-bridge", _bridge_connections, 2, "connections made anew"),
    _link("bridge-kafka", _unacked, 256, "messages held unacknowledged"),
    _link("stream-kafka", _behind("weir-stream"), 2500, "records behind"),
    _link("sink-kafka", _behind("weir-sink"), 2500, "records behind"),
    _link("alerts-kafka", _behind("weir-alerts"), 50, "records behind"),
    _link("sink-influxdb", refused_writes, 1, "writes failed"),
    # The first alarm comes about half a minute after the start.
    _link("alerts-webhook", _unsent_alarms, 1, "posts failed", wait_s=8.0, hold_s=20.0),
)
