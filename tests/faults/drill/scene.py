"""Where a row plays: the plant, the row's own devices, the gauges and logs, and the row's own chance."""

import json
import random
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException

from tests.faults.drill.fleet import Fleet, Workload
from tests.faults.drill.gauges import Gauges
from tests.faults.drill.log_view import Lags, RawLog, Repeats, StateTopic, Written
from tests.faults.drill.plant import PARTITIONS, Plant, Timeout, until

STEADY_S: Final = (3.0, 6.0)
FRESH_S: Final = 2.5
"""A device's data is fresh when it is in InfluxDB this long after it was sent: the pipeline itself needs under 1 s."""
RECOVER_S: Final = 90.0
DRAIN_S: Final = 120.0
LAG_INTERVAL_S: Final = 1.5

Bite = Callable[[], str]
"""Says how the fault bit; raises `DidNotBite`."""


class DidNotBite(Exception):
    """The fault left no trace: the row has proved nothing."""


class View:
    """The logs and gauges that rows look at, kept going from row to row."""

    def __init__(self, plant: Plant) -> None:
        direct = plant.stack.kafka_bootstrap
        self.gauges = Gauges(lambda: plant.http_ports, plant.resident_bytes)
        self.raw = RawLog(direct)
        self.clean = Repeats(direct, "telemetry.clean")
        self.state = StateTopic(direct)
        self.alert_state = Written(direct, "weir-alerts-state")
        self.lags = Lags(direct, PARTITIONS)
        self._highest_lag: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch_lags, name="lags", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """A row begins."""
        self.gauges.reset()
        self._highest_lag = {}

    def highest_lag(self, group: str) -> int:
        """The most records that a group was behind since `reset`."""
        return self._highest_lag.get(group, 0)

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        self._thread.join()
        self.gauges.close()

    def _watch_lags(self) -> None:
        while not self._stopped.wait(LAG_INTERVAL_S):
            try:
                now = self.lags.now()
            except KafkaException:
                continue
            self._highest_lag = {group: max(lag, self._highest_lag.get(group, 0)) for group, lag in now.items()}


@dataclass
class Scene:
    """One row as it is played. `chance` is drawn from the seed and the row's name."""

    plant: Plant
    view: View
    workload: Workload
    fleet: Fleet
    chance: random.Random
    recovered_s: float | None = None

    def steady(self, low_s: float = STEADY_S[0], high_s: float = STEADY_S[1]) -> None:
        """Let the load run for a time that the seed chooses."""
        time.sleep(self.chance.uniform(low_s, high_s))

    def healed(self) -> None:
        """The fault is over: measure how long until every device's data is fresh in InfluxDB, and stays so."""
        began = since = time.monotonic()

        def stays_fresh() -> bool:
            nonlocal since
            now = time.monotonic()
            if not self.is_fresh():
                since = now
            # What came before a kill is still fresh when it falls.
            return now - since > FRESH_S + 1.0

        until(stays_fresh, RECOVER_S, "what devices send is in InfluxDB again")
        self.recovered_s = since - began

    def is_fresh(self) -> bool:
        """Whether what each device (with a right clock) sent `FRESH_S` ago is in InfluxDB."""
        right = [i for i in range(self.workload.devices) if not self.workload.clock_offset_us.get(i)]
        newest = self.newest_us()
        limit_us = (time.time() - FRESH_S) * 1e6
        return all(newest.get(self.workload.device_id(i), 0) >= limit_us for i in right)

    def newest_us(self) -> dict[str, int]:
        """By device of this row: the event time of its newest reading in InfluxDB; empty where that does not answer."""
        query = f'SELECT last("value") FROM "readings" WHERE "site" = \'{self.workload.row}\' GROUP BY "device"'
        try:
            series = influxql(self.plant.stack.influx_url, query)
        except OSError:
            return {}
        return {one["tags"]["device"]: one["values"][0][0] // 1000 for one in series}

    def until(self, true: Callable[[], Any], within_s: float, what: str) -> Any:
        """The first true answer; raises `Timeout`."""
        return until(true, within_s, what)

    def try_again(self, strike: Callable[[], bool], tries: int) -> int:
        """Strike until it is true that it bit; returns how many it took. A kill can fall between two messages."""
        for attempt in range(1, tries + 1):
            if strike():
                return attempt
        raise DidNotBite(f"{tries} tries, and nothing to be seen of them")

    def patient(self, true: Callable[[], bool], within_s: float) -> bool:
        """Whether it came true in time."""
        try:
            return bool(until(true, within_s, ""))
        except Timeout:
            return False

    def marked_repeats(self) -> int:
        """Messages of this row that the MQTT broker has sent again (DUP), as the headers on telemetry.raw say."""
        self.view.raw.follow()
        return sum(self.view.raw.marked_repeats[self.workload.device_id(i)] for i in range(self.workload.devices))

    def repeats(self) -> int:
        """Clean records of this row that were published more than once: a stream worker did its work again."""
        self.view.clean.follow()
        return sum(self.view.clean.by_key[f"drill/{self.workload.device_id(i)}"] for i in range(self.workload.devices))

    def drain(self) -> None:
        """Wait until all that the fleet sent has gone through: closing messages on raw, then no group behind, twice."""
        raw = self.view.raw
        closing = {device: max(seqs) for device, seqs in self.fleet.acknowledged().items() if seqs}

        def all_carried() -> bool:
            raw.follow()
            return all(raw.highest_seq.get(device, -1) >= seq for device, seq in closing.items())

        until(quietly(all_carried), DRAIN_S, "the closing messages stand on telemetry.raw")
        calm = 0

        def no_lag() -> bool:
            nonlocal calm
            calm = calm + 1 if not any(self.view.lags.now().values()) else 0
            return calm == 2

        until(quietly(no_lag), DRAIN_S, "no group is behind")


def quietly(ask: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, where no answer from Kafka counts as no."""

    def asked() -> bool:
        try:
            return ask()
        except KafkaException:
            return False

    return asked


def influxql(url: str, query: str, database: str = "telemetry") -> list[dict[str, Any]]:
    """The series that a query finds, times in ns. Raises OSError: InfluxDB does not answer."""
    asked = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"})
    with urllib.request.urlopen(f"{url}/query?{asked}", timeout=10) as answer:
        return json.load(answer)["results"][0].get("series", [])
