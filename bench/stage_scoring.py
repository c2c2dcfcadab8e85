"""Scoring: CPU microseconds that each offered model takes for a reading, once it has learnt."""

import time
from statistics import median
from typing import Final

from bench.figures import Entry
from bench.workload import SENSORS, Workload
from services.scoring.device import DeviceScorer
from services.scoring.spec import MODELS, ModelSpec
from services.stream.decoders.json_payload import JsonDecoder

_WARM: Final = 400
_MESSAGES: Final = 2_000
_REPEATS: Final = 3


def measure() -> dict[str, Entry]:
    """Model -> its figures."""
    return {name: {"us_per_reading": _cost(name), "runs": _REPEATS} for name in MODELS}


def _cost(name: str) -> float:
    decode = JsonDecoder().decode
    readings = [
        (message.at_us, decode(message.payload)[0].values)
        for message in Workload(1, _WARM + _MESSAGES, time.time_ns() // 1000).one_by_one()
    ]
    costs = []
    for _ in range(_REPEATS):
        scorer = DeviceScorer(ModelSpec(name=name))
        for at_us, values in readings[:_WARM]:
            scorer.update(at_us, values)
        began = time.process_time()
        for at_us, values in readings[_WARM:]:
            scorer.update(at_us, values)
        costs.append((time.process_time() - began) / _MESSAGES / len(SENSORS) * 1e6)
    return round(median(costs), 2)
