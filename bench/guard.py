"""`make bench-guard`: two minutes that tell whether Weir became dearer beside a plain loop in the same run.

    python -m bench.guard            fails (1) where a median ratio of three is over 1.5 times the one in guard.json
    python -m bench.guard --write    measures, and writes guard.json

The ratio of each of the three rounds is taken within the round, so that a slow machine slows both. A stage that fails
is measured once more, since other work on the machine can disturb even ratios of CPU time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Final

from bench import stage_bridge, stage_sink, stage_stream
from bench.figures import Run
from bench.plan import WARM_EACH
from bench.servers import Servers, running
from bench.workload import Workload
from services.runtime import logging

COMMITTED: Final = Path(__file__).parent / "guard.json"
WORSE: Final = 1.5
_ROUNDS: Final = 3
_DEVICES: Final = 200
_MESSAGES: Final = 20_000


def is_worse(measured: float, committed: float) -> bool:
    """Whether a ratio is worse than the committed one by more than half.

    >>> is_worse(1.8, 1.2), is_worse(1.81, 1.2)
    (False, True)
    """
    return measured > WORSE * committed + 1e-9


def ratios(servers: Servers) -> Mapping[str, Callable[[], float]]:
    """Stage -> what measures its ratio: Weir's CPU time over the plain loop's, the median of three rounds."""
    mark = _DEVICES * WARM_EACH
    workload = Workload(_DEVICES, mark + _MESSAGES, time.time_ns() // 1000)
    once: dict[str, Callable[[str], Run]] = {
        "stream_gaussian": lambda name: stage_stream.once(name, servers, "stream_gaussian", workload, mark),
        "mqtt_to_kafka": lambda name: stage_bridge.once(name, servers, workload, mark),
        "kafka_to_influxdb": lambda name: stage_sink.once(name, servers, workload, mark),
    }

    def of(stage: str) -> Callable[[], float]:
        return lambda: median(once[stage]("weir").cpu_s / once[stage]("plain").cpu_s for _ in range(_ROUNDS))

    return {stage: of(stage) for stage in once}


def main() -> None:
    """Measure and compare, or write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    told = parser.parse_args()
    logging.configure("bench", level="ERROR")
    committed: dict[str, float] = json.loads(COMMITTED.read_text(encoding="utf-8")) if COMMITTED.exists() else {}
    measured: dict[str, float] = {}
    worse: list[str] = []
    with running() as servers:
        for stage, measure in ratios(servers).items():
            measured[stage] = round(measure(), 2)
            if not told.write and is_worse(measured[stage], committed[stage]):
                measured[stage] = round(measure(), 2)
                if is_worse(measured[stage], committed[stage]):
                    worse.append(stage)
            print(f"{stage}: {measured[stage]} times the plain loop (committed: {committed.get(stage)})", flush=True)
    if told.write:
        COMMITTED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if worse:
        print(
            f"dearer than committed by over {WORSE - 1:.0%}: {', '.join(worse)}; see bench/README.md", file=sys.stderr
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
