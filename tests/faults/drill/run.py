"""The run: rows one after another on one plant; the account of each row is taken while the next one plays."""

import random
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException

from tests.faults.drill.equality import Equality
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.fleet import Fleet, NotAcknowledged
from tests.faults.drill.influx_reader import InfluxReader
from tests.faults.drill.kafka_log import KafkaLog
from tests.faults.drill.oracle import judge
from tests.faults.drill.plant import Plant, Timeout
from tests.faults.drill.report import Result
from tests.faults.drill.row import Row
from tests.faults.drill.scene import DidNotBite, Scene, View
from tests.faults.drill.workload import TENANT, Workload

IDLE_EMIT_S = 20.0
"""WEIR_STREAM__IDLE_EMIT_S as shipped: so long after its last message a silent device's open windows are shown."""
LAST_WORD_S = 75.0
"""At the end of the run: for windows that end up to a minute after the last message, and are shown then."""


@dataclass
class Played:
    """A row that waits for its account."""

    row: Row
    workload: Workload
    record: FleetRecord
    result: Result


class Run:
    """All rows of a run, on one plant. `say` gets a line of progress now and then."""

    def __init__(self, plant: Plant, seed: int, *, say=print) -> None:
        self._plant = plant
        self._seed = seed
        self._say = say
        self._view = View(plant)
        self._log = KafkaLog(plant.stack.kafka_bootstrap)
        self._influx = InfluxReader(plant.stack.influx_url)
        self._equality = Equality(plant.stack.kafka_bootstrap)
        self._waiting: list[Played] = []

    def all(self, rows: Sequence[Row]) -> list[Result]:
        """Play and judge each; the results are in the order of the rows."""
        results = []
        try:
            for row in rows:
                result = Result(row.name, row.fault)
                results.append(result)
                if why := row.needs(self._plant):
                    result.not_run = f"not run: {why}"
                else:
                    self._play(row, result)
                self._say(f"{row.name}: played in {result.seconds:.0f} s; {result.bite or result.failures}")
            self._settle(self._waiting)
        finally:
            self._view.close()
        return results

    def _play(self, row: Row, result: Result) -> None:
        workload = Workload(self._seed, row.name, **row.workload)
        host, port = self._plant.mqtt_for_devices
        fleet = Fleet(workload, host, port, self._plant.folder / "fleet" / row.name)
        chance = random.Random(f"{self._seed}/{row.name}")
        scene = Scene(self._plant, self._view, workload, fleet, chance)
        began = time.monotonic()
        self._view.reset()
        fleet.start()
        try:
            fleet.wait_connected()
            scene.steady()
            bite = row.play(scene)
            scene.steady(2.0, 4.0)
            fleet.stop()
            scene.drain()
            self._judge_those_before()
            result.bite = bite()
        except (DidNotBite, Timeout, NotAcknowledged, KafkaException) as problem:
            result.failures.append(f"{type(problem).__name__}: {problem}")
            traceback.print_exc(file=sys.stderr)
            self._plant.recover()
            self._end(fleet, scene, result)
        result.recovered_s = scene.recovered_s
        result.seconds = time.monotonic() - began
        self._waiting.append(Played(row, workload, fleet.record(), result))

    def _end(self, fleet: Fleet, scene: Scene, result: Result) -> None:
        """A row that went wrong is judged all the same: what was acknowledged must be accounted for."""
        try:
            fleet.stop()
            scene.drain()
        except (Timeout, NotAcknowledged, KafkaException) as problem:
            result.failures.append(f"afterwards, {type(problem).__name__}: {problem}")

    def _judge_those_before(self) -> None:
        """Their windows have long been shown: the plant is healthy and calm now, as it was when they ended."""
        self._waiting = [played for played in self._waiting if not self._judge(played, last=False)]

    def _settle(self, waiting: list[Played]) -> None:
        until = time.monotonic() + LAST_WORD_S
        while waiting:
            last = time.monotonic() > until
            waiting = [played for played in waiting if not self._judge(played, last=last)]
            time.sleep(2.0)

    def _judge(self, played: Played, *, last: bool) -> bool:
        """Whether the account is complete; `last`: what is not there now is missing."""
        workload, result = played.workload, played.result
        verdict = judge(
            workload,
            played.record,
            self._influx,
            self._log,
            gaps_allowed=played.row.gaps_allowed,
            posts=list(self._plant.webhook.posted),
            idle_emit_s=0.0 if last else IDLE_EMIT_S,
        )
        if verdict.windows_open and not last:
            return False
        self._equality.follow()
        result.verdict = verdict
        result.unequal = self._equality.differences(f"{TENANT}/{device}".encode() for device in workload.device_ids)
        self._log.forget(workload.device_ids)
        counted = f"{verdict.stored:,} of {verdict.acknowledged:,} stored, {verdict.dead_lettered:,} dead-lettered"
        self._say(
            f"{workload.row}: {counted}, {verdict.in_gaps} in gaps, {verdict.alarms} alarms; {verdict_of(result)}"
        )
        for problem in result.problems[:20]:
            self._say(f"    {problem}")
        return True


def verdict_of(result: Result) -> str:
    """In two words, or more."""
    return "all is well" if result.good else f"{len(result.problems)} PROBLEMS"
