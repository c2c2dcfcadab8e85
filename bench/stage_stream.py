"""Stream: telemetry.raw -> clean, windows of 10 s, 1 min and 5 min, scores; state kept, one process.

Each contender gets the same messages and must put out a clean and a score record for each, and a record for each
sensor's window that is over. Its warm-up, in which devices are new, is not counted; leaving is.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import measure
from bench.figures import Run
from bench.kafka_topics import RunTopics, fill
from bench.processes import BENCH_PYTHON, ROOT, Contender, ContenderFailed
from bench.servers import Servers, weir_environment
from bench.workload import Workload
from schemas import topics

CONTENDERS: Final = Path(__file__).parent / "contenders"
MODELS: Final = {"stream_gaussian": "gaussian", "stream_hst": "half_space_trees"}

NOTES: Final = {
    "weir": "checkpoints every 10 s, models included; windows with std, quantiles, first, last; repeats, gaps, clocks",
    "plain": "the same core in a confluent-kafka loop; keeps no state",
    "plain_simple": "the rivals' work in a confluent-kafka loop; keeps no state",
    "quix": "windows durable (RocksDB and changelog), models in memory only",
    "bytewax": "no recovery store, so keeps no state; copies it every 10 s nonetheless, as is its default",
    "bytewax_recovery": "snapshots of windows and models every 10 s into SQLite",
    "faust_documented": "windows durable (changelog), models in memory only",
}


class _Aggregate(msgspec.Struct):
    device: str
    sensor: str
    start_us: int
    width_us: int


_decode = msgspec.json.Decoder(_Aggregate).decode


class Program(NamedTuple):
    """How a contender is started."""

    command: Sequence[str]
    environment: Mapping[str, str]


def program(contender: str, servers: Servers, prefix: str, model: str, folder: Path) -> Program:
    """The command and the environment of a contender."""
    types = folder / "device_types.yaml"
    types.write_text(json.dumps({"types": {"generic": {"model": {"name": model}}}}), encoding="utf-8")
    told = {"BENCH_KAFKA": servers.kafka, "BENCH_PREFIX": prefix, "BENCH_MODEL": model, "BENCH_TYPES": str(types)}
    theirs = told | {"PYTHONPATH": str(CONTENDERS)}
    python = str(BENCH_PYTHON)
    bytewax = [python, "-m", "bytewax.run", "bytewax_stream:flow"]
    match contender:
        case "weir":
            own = {
                "WEIR_STREAM__DEVICE_TYPES_FILE": str(types),
                "WEIR_STREAM__GROUP": f"{prefix}stream",
                "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
            }
            return Program([sys.executable, "-m", "services.cli", "stream"], weir_environment(servers, prefix) | own)
        case "plain":
            return Program([sys.executable, "-m", "bench.contenders.plain_stream"], told | {"PYTHONPATH": str(ROOT)})
        case "plain_simple":
            return Program([python, str(CONTENDERS / "simple_stream.py")], theirs)
        case "quix":
            return Program([python, str(CONTENDERS / "quix_stream.py")], theirs)
        case "bytewax":
            return Program(bytewax, theirs)
        case "bytewax_recovery":
            (folder / "recovery").mkdir()
            made = [python, "-m", "bytewax.recovery", str(folder / "recovery"), "1"]
            subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
            return Program([*bytewax, "-r", str(folder / "recovery"), "-s", "10", "-b", "0"], theirs)
        case "faust_documented":
            app = [sys.executable, "-m", "faust", "--loop", "uvloop", "-A", "bench.contenders.faust_documented"]
            return Program([*app, "worker", "-l", "warn"], told | {"PYTHONPATH": str(ROOT)})
    raise ValueError(f"no contender of this stage: {contender}")


def once(contender: str, servers: Servers, stage: str, workload: Workload, mark: int) -> Run:
    """One run over `workload`, counted from `mark` messages on. Raises `ContenderFailed`."""
    folder = servers.folder(f"{stage}-{contender}")
    with servers.run_topics() as there:
        fill(there, workload)
        how = program(contender, servers, there.settings.topic_prefix, MODELS[stage], folder)
        process = Contender(how.command, how.environment, folder / "log")
        try:
            found = measure.run(process, lambda: _done(there, workload), workload.messages, mark)
        finally:
            process.stop(0.0)
        check(there, workload)
    return found


def _done(there: RunTopics, workload: Workload) -> int:
    done = min(there.count(topics.SCORES), there.count(topics.CLEAN))
    if done == workload.messages and there.count(topics.AGGREGATES) < workload.windows():
        return done - 1
    return done


def check(there: RunTopics, workload: Workload) -> None:
    """Raises `ContenderFailed` where the outputs are not what the workload must give."""
    for topic in (topics.CLEAN, topics.SCORES):
        if (count := there.count(topic)) != workload.messages:
            raise ContenderFailed(f"{count} records on {topic}, not {workload.messages}")
    windows = {
        (one.device, one.sensor, one.start_us, one.width_us) for one in map(_decode, there.records(topics.AGGREGATES))
    }
    if len(windows) < workload.windows():
        raise ContenderFailed(f"{len(windows)} windows, not {workload.windows()}")
