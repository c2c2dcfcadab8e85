"""`make bench`: starts its own servers, runs the three stages, prints CPU seconds per million messages.

`BENCH_MESSAGES` (default 60,000) sets the work of each measurement.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.ports import Ports
from deploy.local.servers import chosen_influx_version, install
from deploy.local.stack import Stack


def stages(stack: Stack, messages: int) -> list[list[str]]:
    """The commands to run, one a stage; each prints one JSON line a contender."""
    host, port = stack.mqtt_address
    count = ["--messages", str(messages)]
    return [
        ["bench.stage_bridge", "--mqtt", f"{host}:{port}", "--kafka", stack.kafka_bootstrap, *count],
        ["bench.stage_stream", "--kafka", stack.kafka_bootstrap, *count],
        ["bench.stage_sink", "--kafka", stack.kafka_bootstrap, "--influx", stack.influx_url, *count],
    ]


def main() -> None:
    """Run everything and print the table."""
    messages = int(os.environ.get("BENCH_MESSAGES", "60000"))
    influx_version = chosen_influx_version()
    install(influx_version)
    table = Table("stage", "contender", "messages", "CPU s per million", "ratio to plain", "wall s", title="make bench")
    with tempfile.TemporaryDirectory(prefix="weir-bench") as folder:
        stack = Stack(Path(folder), Ports.free(), influx_version=influx_version)
        stack.start(tied_to_caller=True)
        try:
            stack.wait_servers_ready(120)
            for stage in stages(stack, messages):
                done = subprocess.run(
                    [sys.executable, "-m", *stage],
                    env=os.environ | stack.environment(),
                    stdout=subprocess.PIPE,
                    check=True,
                )
                results = [json.loads(line) for line in done.stdout.splitlines()]
                floor = next(r["cpu_s_per_million"] for r in results if r["contender"] == "plain")
                for r in results:
                    cost = r["cpu_s_per_million"]
                    table.add_row(
                        r["stage"],
                        r["contender"],
                        str(r["messages"]),
                        f"{cost:.1f}",
                        f"{cost / floor:.2f}",
                        f"{r['wall_s']:.1f}",
                    )
        finally:
            stack.stop()
    Console().print(table)


if __name__ == "__main__":
    main()
