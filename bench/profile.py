"""`make profile`: flame graphs of Weir's services at work, by py-spy, into bench/profiles.

    python -m bench.profile [bridge] [stream] [sink] [--messages 100000] [--model bands]

py-spy samples one process 200 times a second, idle threads left out; besides the graph it keeps the collapsed stacks
aside and prints the functions in which most samples end, and those under which most lie.
"""

import argparse
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench import measure, stage_bridge, stage_sink, stage_stream
from bench.flame import draw
from bench.influx import RunDatabase
from bench.kafka_topics import fill
from bench.load import Load
from bench.plan import WARM_EACH
from bench.processes import BENCH_PYTHON, Contender
from bench.servers import Servers, running
from bench.workload import SENSORS, Workload, topic_of
from schemas import influx, topics
from services.runtime import logging

FOLDER: Final = Path(__file__).parent / "profiles"
SERVICES: Final = ("bridge", "stream", "sink")
_DEVICES: Final = 1_000
_RATE: Final = "200"
_LINE: Final = re.compile(r":\d+\)$")
_SHOWN: Final = 30
_PLUMBING: Final = 0.7
"""A function under which more lies is what calls everything."""


class Recorder:
    """py-spy on a living process until it ends, once for the graph's data."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._stacks = folder / "stacks"
        binary = str(BENCH_PYTHON.parent / "py-spy")
        command = [
            binary,
            "record",
            "--pid",
            str(pid),
            "--format",
            "raw",
            "--rate",
            _RATE,
            "--output",
            str(self._stacks),
        ]
        self._process = subprocess.Popen(
            [*command, "--nonblocking"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stacks(self) -> list[tuple[list[str], int]]:
        """Stacks, outermost first, and how often each was seen."""
        self._process.wait(60)
        return parse(self._stacks.read_text(encoding="utf-8"))


def parse(collapsed: str) -> list[tuple[list[str], int]]:
    """Collapsed stacks (`outer (file:12);inner (file:30) 4`) with lines of code taken together by function.

    >>> parse("outer (a.py:12);inner (b.py:30) 4")
    [(['outer (a.py)', 'inner (b.py)'], 4)]
    """
    found = []
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        found.append(([_LINE.sub(")", frame) for frame in stack.split(";") if frame], int(count)))
    return [(stack, count) for stack, count in found if stack]


def top(stacks: Iterable[tuple[list[str], int]]) -> tuple[Counter[str], Counter[str]]:
    """Samples that end in a function, and samples that lie under it (once a sample, however deep it recurses).

    >>> top([(["a", "b"], 2), (["a"], 1)])
    (Counter({'b': 2, 'a': 1}), Counter({'a': 3, 'b': 2}))
    """
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    for stack, count in stacks:
        own[stack[-1]] += count
        for name in set(stack):
            under[name] += count
    return own, under


def record(service: str, servers: Servers, workload: Workload, mark: int, model: str) -> list[tuple[list[str], int]]:
    """The stacks of a service that works off the workload."""
    folder = servers.folder(f"profile-{service}")
    with servers.run_topics() as there:
        prefix = there.settings.topic_prefix
        database = RunDatabase(servers.influx, prefix.rstrip("."))
        if service == "bridge":
            how = stage_bridge.program("weir", servers, prefix)
        elif service == "stream":
            fill(there, workload)
            how = stage_stream.program("weir", servers, prefix, model, folder)
        else:
            stage_sink.fill_clean(there, workload)
            how = stage_sink.program("weir", servers, prefix, database.name)

        def done() -> int:
            if service == "stream":
                return there.count(topics.SCORES)
            return database.count(influx.READINGS, "value") // len(SENSORS)

        process = Contender(how.command, how.environment, folder / "log")
        try:
            if service == "bridge":
                before = stage_bridge.wait_subscribed(servers, there, process)
                load = Load(servers.mqtt, [(topic_of(one.device), one.payload) for one in workload.encoded])
                recorder = Recorder(process.pid, folder)
                time.sleep(1.0)
                threading.Thread(target=load.flood, daemon=True).start()
                measure.run(process, lambda: there.count(topics.RAW) - before, workload.messages, mark)
                load.close()
            else:
                while done() < mark:
                    process.check()
                    time.sleep(0.1)
                recorder = Recorder(process.pid, folder)
                measure.run(process, done, workload.messages, mark, 0.5)
        finally:
            process.stop(0.0)
            database.close()
    return recorder.stacks()


def main() -> None:
    """Record each service asked for, draw it, and print where the samples are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="*", default=[*SERVICES], choices=SERVICES)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--model", default="bands")
    told = parser.parse_args()
    logging.configure("bench", level="ERROR")
    FOLDER.mkdir(exist_ok=True)
    mark = _DEVICES * WARM_EACH
    workload = Workload(_DEVICES, mark + told.messages, time.time_ns() // 1000)
    with running() as servers:
        for service in told.services:
            stacks = record(service, servers, workload, mark, told.model)
            draw(stacks, FOLDER / f"{service}.svg", f"{service}: {workload.messages:,} messages")
            show(service, stacks)


def show(service: str, stacks: list[tuple[list[str], int]]) -> None:
    """Print the functions that matter."""
    own, under = top(stacks)
    total = sum(own.values())
    for title, counted in (("samples end in", own), ("samples lie under", under)):
        print(f"{service}: {title}")
        telling = [(name, count) for name, count in counted.most_common() if count < _PLUMBING * total]
        for name, count in telling[:_SHOWN]:
            print(f"  {count / total:6.1%} {name}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
