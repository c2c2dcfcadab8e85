"""What 100,000 invented names cost, from one client: part of `make fuzz`. Each scene in a process of its own.

RSS is that of the whole core: bridge, one partition of the stream, the sink's lines, alerts, the console's live table.
"""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.telemetry import Clean
from services.bridge.packets import Message
from services.console.live_state import LiveState
from services.stream.pipeline import Budgets
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import NOON_US, encode, message, telemetry_topic

NAMES: Final = 100_000
FEW: Final = 1000
"""Devices that a tenant may have in this measurement, so that the budget is met."""
SCENES: Final = (
    "nothing",
    "devices of one tenant",
    "devices of one tenant, no budget",
    "tenants with a device each",
    "sensors of one device",
    "sensors over 1,000 devices",
    "sites of one device",
    "topics that name no device",
)


def messages(scene: str) -> Iterator[Message]:
    """The hostile client's messages, a new name in each."""
    for number in range(NAMES):
        topic, payload = telemetry_topic("evil"), b'{"values":{"a":1}}'
        match scene:
            case "devices of one tenant" | "devices of one tenant, no budget":
                topic = telemetry_topic(f"x{number}")
            case "tenants with a device each":
                topic = telemetry_topic("x", f"t{number}")
            case "sensors of one device":
                payload = encode({"values": {f"s{number}": 1}})
            case "sensors over 1,000 devices":
                topic, payload = telemetry_topic(f"d{number % 1000}"), encode({"values": {f"s{number}": 1}})
            case "sites of one device":
                topic, payload = telemetry_topic("evil", site=f"s{number}"), encode({"values": {"a": number}})
            case "topics that name no device":
                topic = f"weir/v1/acme/north/no id {number}/telemetry".encode()
            case _:
                return
        yield message(topic, payload)


def measure(scene: str) -> dict[str, float]:
    """Run one scene; what it has cost."""
    budgets = Budgets(*(10**9,) * len(Budgets._fields)) if "no budget" in scene else Budgets(FEW)
    core = Core(partitions=1, budgets=budgets)
    live, warm = LiveState(), resident_bytes()
    for number, made in enumerate(messages(scene)):
        for output in core.publish(made, NOON_US + number * 1000).outputs:
            if isinstance(output.record, Clean):
                live.take(output.record, number / 1000)
    grown = resident_bytes() - warm
    state = core.pipelines[0].take_changes()
    return {
        "RSS MB": grown / 1e6,
        "devices": len(core.pipelines[0]),
        "state MB": sum(len(change.key) + len(change.value) for change in state) / 1e6,
        "series": len(core.series),
        "alerts": sum(len(shard.devices) for shard in core.alerts._shards.values()),
        "live": len(live.devices),
        "dead": core.ended["dead"],
    }


def resident_bytes() -> int:
    """This process's RSS."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Print the table."""
    spawn = multiprocessing.get_context("spawn")
    sys.stdout.write(f"{NAMES:,} invented names: what they cost\n")
    with spawn.Pool(1, maxtasksperchild=1) as pool:
        for scene in SCENES:
            cost = pool.apply(measure, (scene,))
            if scene == SCENES[0]:
                sys.stdout.write(f"{'':34}" + "".join(f"{name:>11}" for name in cost) + "\n")
            sys.stdout.write(f"{scene:34}" + "".join(f"{value:>11,.1f}" for value in cost.values()) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
