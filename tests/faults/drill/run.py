"""The run: rows one after another on one plant; the account of each row is taken while the next one plays."""

import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException

from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.equality import Equality
from tests.faults.drill.fleet import Fleet, NotAcknowledged
from tests.faults.drill.influx_reader import InfluxReader
from tests.faults.drill.kafka_log import KafkaLog
from tests.faults.drill.oracle import judge, windows_due_us
from tests.faults.drill.plant import Plant, Timeout
from tests.faults.drill.report import Result
from tests.faults.drill.row import Row
from tests.faults.drill.scene import Bite, DidNotBite, Scene, View
from tests.faults.drill.workload import TENANT, Workload

LAST_WORD_S = 34.0
"""At the end of the run a silent device's windows of 10 s are still to be shown; the widest ones may stay open."""


@dataclass
class Played:
    """A row that waits for its account."""

    row: Row
    workload: Workload
    record: FleetRecord
    result: Result
    windows_due_us: int


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
            self._settle()
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
        bite: Bite | None = None
        fleet.start()
        with _noting(result):
            fleet.wait_connected()
            scene.steady()
            bite = row.play(scene)
            scene.steady(1.0, 2.0)
        if result.failures:
            # What was acknowledged must be accounted for all the same.
            self._plant.recover()
        with _noting(result):
            fleet.stop()
            scene.drain()
            self._judge_those_before()
        if bite is not None:
            with _noting(result):
                result.bite = bite()
        result.recovered_s = scene.recovered_s
        result.seconds = time.monotonic() - began
        record = fleet.record()
        self._waiting.append(Played(row, workload, record, result, windows_due_us(record)))

    def _judge_those_before(self) -> None:
        """The plant is healthy and calm now; a row whose windows are not all shown yet is judged once more later."""
        now_us = time.time_ns() // 1000
        self._waiting = [played for played in self._waiting if not self._judge_if_due(played, now_us)]

    def _settle(self) -> None:
        """The end of the run: of the widest windows some may stay open."""
        until_us = time.time_ns() // 1000 + round(LAST_WORD_S * 1e6)
        while self._waiting:
            now_us = time.time_ns() // 1000
            for played in list(self._waiting):
                if now_us >= min(until_us, played.windows_due_us):
                    self._judge(played)
                    self._waiting.remove(played)
            time.sleep(1.0)

    def _judge_if_due(self, played: Played, now_us: int) -> bool:
        """Whether this was the last word; the first one is had early, so that a long run shows what it finds."""
        if now_us >= played.windows_due_us:
            self._judge(played)
            self._forget(played.workload)
            return True
        if played.result.verdict is None:
            self._judge(played)
        return False

    def _forget(self, workload: Workload) -> None:
        self._log.forget(workload.device_ids)
        self._view.clean.forget({f"{TENANT}/{device}" for device in workload.device_ids})

    def _judge(self, played: Played) -> None:
        workload, result = played.workload, played.result
        verdict = judge(
            workload,
            played.record,
            self._influx,
            self._log,
            gaps_allowed=played.row.gaps_allowed,
            posts=list(self._plant.webhook.posted),
        )
        if result.unequal is None:
            self._equality.follow()
            result.unequal = self._equality.differences(f"{TENANT}/{device}".encode() for device in workload.device_ids)
        result.verdict = verdict
        counted = f"{verdict.stored:,} of {verdict.acknowledged:,} stored, {verdict.dead_lettered:,} dead-lettered"
        windows = f"{verdict.windows} windows ({verdict.windows_open} open)"
        self._say(
            f"{workload.row}: {counted}, {verdict.in_gaps} in gaps, {windows}, {verdict.alarms} alarms;"
            f" {verdict_of(result)}"
        )
        for problem in result.problems[:20]:
            self._say(f"    {problem}")


@contextmanager
def _noting(result: Result) -> Iterator[None]:
    """Write down what goes wrong in a row, and go on: the other rows are worth playing."""
    try:
        yield
    except (DidNotBite, TimeoutError, Timeout, NotAcknowledged, KafkaException, OSError) as problem:
        result.failures.append(f"{type(problem).__name__}: {problem}")
        traceback.print_exc(file=sys.stderr)


def verdict_of(result: Result) -> str:
    """In two words, or more."""
    return "all is well" if result.good else f"{len(result.problems)} PROBLEMS"
