"""Scoring: CPU microseconds that each offered model takes for a reading, once it has learnt; memory of a sensor.

Beside them, in the same run, River's HalfSpaceTrees as its documentation has it: one a sensor, scored and learnt.
"""

import time
import tracemalloc
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final, TypeAlias

from river.anomaly import HalfSpaceTrees
from river.compose import Pipeline
from river.preprocessing import MinMaxScaler

from bench.figures import Entry
from bench.workload import SENSORS, Workload
from services.scoring.device import DeviceScorer
from services.scoring.spec import MODELS, ModelSpec
from services.stream.decoders.json_payload import JsonDecoder

_WARM: Final = 400
_MESSAGES: Final = 2_000
_REPEATS: Final = 3


Score: TypeAlias = Callable[[int, Mapping[str, float]], object]


def measure() -> dict[str, Entry]:
    """Model -> its figures, River's HalfSpaceTrees first."""
    contenders: dict[str, Callable[[], Score]] = {"HalfSpaceTrees (River, stock)": _stock}
    contenders |= {name: _offered(name) for name in MODELS}
    readings = _readings()
    return {
        name: {"us_per_reading": _cost(make, readings), "kb_per_sensor": _memory(make, readings), "runs": _REPEATS}
        for name, make in contenders.items()
    }


def _offered(name: str) -> Callable[[], Score]:
    return lambda: DeviceScorer(ModelSpec(name=name)).update


def _stock() -> Score:
    models = {sensor: Pipeline(MinMaxScaler(), HalfSpaceTrees(seed=1)) for sensor in SENSORS}

    def score(_: int, values: Mapping[str, float]) -> None:
        for sensor, value in values.items():
            reading = {"value": value}
            models[sensor].score_one(reading)
            models[sensor].learn_one(reading)

    return score


def _readings() -> list[tuple[int, Mapping[str, float]]]:
    decode = JsonDecoder().decode
    messages = Workload(1, _WARM + _MESSAGES, time.time_ns() // 1000).one_by_one()
    return [(message.at_us, decode(message.payload)[0].values) for message in messages]


def _cost(make: Callable[[], Score], readings: list[tuple[int, Mapping[str, float]]]) -> float:
    costs = []
    for _ in range(_REPEATS):
        score = make()
        for at_us, values in readings[:_WARM]:
            score(at_us, values)
        began = time.process_time()
        for at_us, values in readings[_WARM:]:
            score(at_us, values)
        costs.append((time.process_time() - began) / _MESSAGES / len(SENSORS) * 1e6)
    return round(median(costs), 2)


def _memory(make: Callable[[], Score], readings: list[tuple[int, Mapping[str, float]]]) -> float:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    score = make()
    for at_us, values in readings:
        score(at_us, values)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return round(held / len(SENSORS) / 1e3, 1)
