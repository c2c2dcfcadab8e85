"""InfluxDB away, slow, refusing, and with a full disk."""

import time

from tests.faults.drill.plant import Plant
from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene
from tests.faults.drill.traces import refused_writes

AWAY_S = 120.0
RETRY_AFTER_S = 4
SLOW_S = 2.0
SINK_MIB = 300
"""With InfluxDB away the sink must not hold in memory what it cannot write."""


def _away(scene: Scene) -> Bite:
    scene.plant.hold_down("influxdb")
    time.sleep(AWAY_S)
    lag = scene.view.highest_lag("weir-sink")
    scene.plant.raise_up("influxdb")
    scene.healed()

    def bite() -> str:
        refused, memory = refused_writes(scene), scene.view.gauges.resident_mib()["sink"]
        if not refused or lag < 10_000 or memory > SINK_MIB:
            raise DidNotBite(f"{refused:.0f} writes failed, {lag} records behind, the sink held {memory} MiB")
        return f"{refused:.0f} writes failed, the sink was {lag:,} records behind and held {memory} MiB"

    return bite


def _slow(scene: Scene) -> Bite:
    scene.plant.influx.delay(SLOW_S)
    scene.steady(18.0, 22.0)
    scene.plant.influx.delay(0.0)
    scene.healed()

    def bite() -> str:
        spent = scene.view.gauges.rise("sink", "weir_sink_write_seconds_sum")
        lag = scene.view.highest_lag("weir-sink")
        if spent < 5 * SLOW_S or lag < 1000:
            raise DidNotBite(f"{spent:.0f} s were spent on writes, {lag} records behind")
        return f"{spent:.0f} s spent on writes, the sink was {lag:,} records behind"

    return bite


def _answers(status: int, *, headers: dict[str, str], most_tries: int) -> "Row":
    def play(scene: Scene) -> Bite:
        link = scene.plant.influx
        before = link.refused
        link.answer(status, headers, '{"error":"the drill says no"}')
        scene.steady(10.0, 13.0)
        refused = link.refused - before
        link.pass_all()
        scene.healed()

        def bite() -> str:
            if not 0 < refused <= most_tries:
                raise DidNotBite(f"{refused} writes were refused, expected up to {most_tries}")
            return f"{refused} writes refused, the sink was {scene.view.highest_lag('weir-sink'):,} records behind"

        return bite

    after = f", Retry-After {RETRY_AFTER_S} s" if headers else ""
    return Row(f"influxdb-{status}", f"InfluxDB answers {status}{after}", play)


def _bad_line(scene: Scene) -> Bite:
    """Readings of one sensor of one device at every 50th moment: one line in a batch, now and then."""
    unlucky = scene.workload.device_id(3).encode()

    def is_bad(line: bytes) -> bool:
        if not line.startswith(b"readings,") or unlucky not in line or b"sensor=pressure" not in line:
            return False
        return int(line.rsplit(b" ", 1)[1]) % 1000 % 50 == 7

    link = scene.plant.influx
    before = link.refused
    link.refuse_line(is_bad)
    scene.steady(14.0, 16.0)
    refused = link.refused - before
    link.pass_all()
    scene.healed()

    def bite() -> str:
        buried = scene.view.gauges.rise("sink", "weir_sink_dead_letters_total")
        if not refused or not buried:
            raise DidNotBite(f"{refused} writes were refused, {buried:.0f} lines dead-lettered")
        return f"{refused} writes refused, {buried:.0f} lines dead-lettered, the others stored"

    return bite


def _full(scene: Scene) -> Bite:
    scene.plant.disk.fill()
    scene.steady(14.0, 18.0)
    scene.plant.disk.free()
    # It goes on refusing until it is started anew, as its people say (influxdb #24460).
    scene.plant.stack.restart("influxdb")
    scene.plant.stack.wait_servers_ready()
    scene.healed()

    def bite() -> str:
        if not (refused := refused_writes(scene)):
            raise DidNotBite("no write was refused")
        return f"{refused:.0f} writes refused, the sink was {scene.view.highest_lag('weir-sink'):,} records behind"

    return bite


def _needs_a_disk(plant: Plant) -> str | None:
    return plant.disk.absent_because


ROWS = (
    Row("influxdb-away", "InfluxDB away for 2 minutes", _away),
    Row("influxdb-slow", f"InfluxDB takes {SLOW_S:.0f} s for a write", _slow),
    _answers(500, headers={}, most_tries=60),
    # It asks for patience, and must get it.
    _answers(429, headers={"Retry-After": str(RETRY_AFTER_S)}, most_tries=5),
    Row("influxdb-400-line", "InfluxDB answers 400 for one line in a batch", _bad_line),
    Row(
        "disk-full",
        "the disk under InfluxDB's data full, then room again and InfluxDB restarted",
        _full,
        needs=_needs_a_disk,
    ),
)
