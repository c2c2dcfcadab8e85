"""`make bench`: runs every contender on the same messages and writes down what it cost.

    python -m bench [--quick] [--rows stream_gaussian,mqtt_to_kafka] [--contenders weir,plain]

Writes `bench/results/latest.json` after each row, and at the end the table and the plot of docs/performance.md.
A part of the rows, or of the contenders, replaces only those in what is there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from bench import (
    report,
    stage_bridge,
    stage_end_to_end,
    stage_scale,
    stage_scoring,
    stage_sink,
    stage_state,
    stage_stream,
)
from bench.figures import Entry, Results, Run, entry, with_ratios
from bench.plan import BRIDGE, QUICK, SINK, SLOW, WARM_EACH, WHOLE, Plan, contenders, rows, stream_rows
from bench.processes import BENCH_PYTHON, ROOT, ContenderFailed
from bench.servers import Servers, running
from bench.workload import Workload
from services.runtime import logging

LATEST: Final = ROOT / "bench" / "results" / "latest.json"
DOCS: Final = ROOT / "docs" / "performance.md"
PLOT: Final = ROOT / "docs" / "performance.svg"
_QUIET: Final = 0.5
_LONG_S: Final = 300.0
"""A contender whose first run takes longer is not run again."""

Once = Callable[[str], Run]
FAILURES: Final = (ContenderFailed, OSError, subprocess.CalledProcessError)
"""What ends a contender or a row and is written down as its figure; the other rows are measured all the same."""


def contest(row: str, contenders: Sequence[str], once: Once, repeats: int, notes: dict[str, str]) -> dict[str, Entry]:
    """Run the contenders in turn, `repeats` times over: what disturbs, disturbs all. A failure is the row's entry."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    found: dict[str, Entry] = {}
    for number in range(repeats):
        for name in contenders:
            if name in found or (runs[name] and runs[name][0].wall_s > _LONG_S):
                continue
            try:
                run = once(name)
            except FAILURES as error:
                found[name] = {"error": str(error)}
                say(f"{row} {name}: {error}")
                continue
            runs[name].append(run)
            say(f"{row} {name} {number + 1}/{repeats}: {run.cpu_s / run.messages * 1e6:.1f} CPU s per million")
    return {name: found.get(name) or entry(runs[name], notes.get(name, "")) for name in contenders}


def say(text: str) -> None:
    """Tell how it goes."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def stream(servers: Servers, plan: Plan, name: str, wanted: Collection[str]) -> dict[str, Entry]:
    """A row of the stream stage."""
    row = next(row for row in stream_rows(plan) if row.name == name)
    mark = row.devices * WARM_EACH
    end_us = time.time_ns() // 1000
    workload = Workload(row.devices, mark + plan.messages, end_us)
    shorter = Workload(row.devices, mark + plan.slow_messages, end_us)

    def once(contender: str) -> Run:
        return stage_stream.once(contender, servers, row.stage, shorter if contender in SLOW else workload, mark)

    found = contest(name, [n for n in row.contenders if n in wanted], once, plan.repeats, stage_stream.NOTES)
    return {contender: figures | {"devices": row.devices} for contender, figures in found.items()}


def bridge(servers: Servers, plan: Plan, wanted: Collection[str]) -> dict[str, Entry]:
    """The row of the bridge."""
    mark = plan.messages // 10
    workload = Workload(1_000, mark + plan.messages, time.time_ns() // 1000)

    def once(name: str) -> Run:
        return stage_bridge.once(name, servers, workload, mark)

    return contest("mqtt_to_kafka", [n for n in BRIDGE if n in wanted], once, plan.repeats, stage_bridge.NOTES)


def sink(servers: Servers, plan: Plan, wanted: Collection[str]) -> dict[str, Entry]:
    """The row of the sink."""
    mark = plan.messages // 10
    workload = Workload(1_000, mark + plan.messages, time.time_ns() // 1000)

    def once(name: str) -> Run:
        return stage_sink.once(name, servers, workload, mark)

    return contest("kafka_to_influxdb", [n for n in SINK if n in wanted], once, plan.repeats, stage_sink.NOTES)


def measured(servers: Servers, plan: Plan, row: str, wanted: Collection[str]) -> dict[str, Entry]:
    """One row. A failure that is not a single contender's is the row's entry."""
    try:
        match row:
            case "mqtt_to_kafka":
                return with_ratios(bridge(servers, plan, wanted))
            case "kafka_to_influxdb":
                return with_ratios(sink(servers, plan, wanted))
            case "end_to_end":
                return {"weir": stage_end_to_end.measure(servers, plan.end_to_end)}
            case "scale":
                return {"weir": stage_scale.measure(servers, plan.scale_messages)}
            case "state":
                return {"weir": {f"{n}_{model}": stage_state.measure(n, model) for n, model in plan.state}}
            case "scoring":
                return stage_scoring.measure()
        return with_ratios(stream(servers, plan, row, wanted))
    except FAILURES as error:
        say(f"{row}: {error}")
        return {"weir": {"error": str(error)}}


def write(results: Results) -> None:
    """Keep the results."""
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def circumstances(*, quick: bool, load: float) -> str:
    """When and where, for whoever reads the figures. `load`: the machine's load average before the start."""
    size = "a quick run (`QUICK=1`: one short run each)" if quick else "a whole run"
    disturbed = "; other work was on the machine: ratios of CPU time alone mean something" if load > _QUIET else ""
    return (
        f"Last: {time.strftime('%Y-%m-%d')}, {size}, {os.cpu_count()} cores, {platform.machine()}, Python"
        f" {platform.python_version()}, load average before the start {load:.1f}{disturbed}."
    )


def publish(text: str) -> None:
    """The table and the plot of docs/performance.md."""
    DOCS.write_text(report.put_into(DOCS.read_text(encoding="utf-8"), text), encoding="utf-8")
    subprocess.run([BENCH_PYTHON, "-m", "bench.plot", LATEST, PLOT], check=True, cwd=ROOT)


def main() -> None:
    """Run, print the table, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and once, in five minutes")
    parser.add_argument("--rows", help="comma-separated; default: all")
    parser.add_argument("--contenders", help="comma-separated; default: all")
    told = parser.parse_args()
    plan = QUICK if told.quick else WHOLE
    known = rows(plan)
    asked = told.rows.split(",") if told.rows else known
    if strange := sorted(set(asked) - set(known)):
        parser.error(f"unknown rows {strange}; there are {known}")
    everybody = contenders(plan)
    wanted = set(told.contenders.split(",")) if told.contenders else everybody
    if strange := sorted(wanted - everybody):
        parser.error(f"unknown contenders {strange}; there are {sorted(everybody)}")
    partial = bool(told.rows or told.contenders)
    load = os.getloadavg()[0]
    logging.configure("bench", level="ERROR")
    results: Results = json.loads(LATEST.read_text(encoding="utf-8")) if partial and LATEST.exists() else {}
    with running() as servers:
        for row in asked:
            say(f"{row} ...")
            results[row] = with_ratios(results.get(row, {}) | measured(servers, plan, row, wanted))
            write(results)
    text = report.render(results, circumstances(quick=told.quick, load=load))
    publish(text)
    print(text)


if __name__ == "__main__":
    main()
