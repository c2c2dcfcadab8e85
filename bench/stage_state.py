"""State: memory and bytes of a device, what a checkpoint costs, how long it takes to start from it. The core alone.

Each count of devices is a process of its own, so that memory is its own. The devices have sent `MESSAGES_EACH` messages
of three readings each when they are looked at: past the first 32 readings, from which on models learn.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench.figures import Entry
from bench.processes import ROOT
from bench.workload import SENSORS, Workload, key_of, topic_of
from schemas import raw, topics
from services.runtime.routes import load_routes
from services.scoring.device import DeviceScorer
from services.scoring.spec import MODELS, ModelSpec
from services.stream.arrival import RawRecord
from services.stream.device_table import Restored
from services.stream.device_types import DeviceType, DeviceTypes
from services.stream.pipeline import Budgets, PartitionPipeline

MESSAGES_EACH: Final = 40
_AT_ONCE: Final = 1000


def measure(devices: int, model: str) -> Entry:
    """The figures for so many devices, in a process of their own, and the models' part in another."""
    whole = _child("state", devices, model)
    models = _child("models", devices, model)
    whole["models_memory_bytes"] = models["memory_bytes"]
    whole["memory_beside_models_bytes"] = whole["memory_bytes"] - models["memory_bytes"]
    whole["changelog_beside_models_bytes"] = whole["changelog_bytes"] - models["changelog_bytes"]
    return whole


def _child(what: str, devices: int, model: str) -> Entry:
    command = [sys.executable, "-m", "bench.stage_state", what, "--devices", str(devices), "--model", model]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    found: Entry = json.loads(done.stdout)
    return found


def _rss() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def _records(workload: Workload) -> Iterator[list[RawRecord]]:
    batch: list[RawRecord] = []
    for offset, message in enumerate(workload.one_by_one()):
        headers = {
            raw.MQTT_TOPIC: topic_of(message.device).encode(),
            raw.MQTT_DUP: b"0",
            raw.RECEIVED_AT: b"%d" % (message.at_us + 5_000),
            raw.ROUTE: b"telemetry",
        }
        batch.append(RawRecord(offset, key_of(message.device).encode(), message.payload, headers))
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    yield batch


def state(devices: int, model: str) -> Entry:
    """Feed the devices, take a checkpoint, and start from it."""
    kind = DeviceTypes({"generic": DeviceType(model=ModelSpec(name=model))}, [])
    sensors = devices * len(SENSORS)
    budgets = Budgets(
        devices_per_tenant=devices,
        devices_per_partition=devices,
        sensors_per_tenant=sensors,
        sensors_per_partition=sensors,
    )
    routes = load_routes(None)
    pipeline = PartitionPipeline(0, routes, kind, budgets)
    before, began = _rss(), time.process_time()
    workload = Workload(devices, devices * MESSAGES_EACH, time.time_ns() // 1000)
    for batch in _records(workload):
        for made in pipeline.process(batch):
            if made.topic == topics.DEAD_LETTER:
                raise SystemExit(f"a reading was refused, and what is measured is less than said: {made.record}")
    fed_s, memory = time.process_time() - began, _rss() - before
    began = time.process_time()
    changes = pipeline.take_changes()
    checkpoint_s = time.process_time() - began
    values = {change.key: change.value for change in changes if change.value is not None}
    snapshots = [len(value) for key, value in values.items() if b"|" not in key]
    pages = [len(value) for key, value in values.items() if b"|" in key]
    del pipeline
    gc.collect()
    began = time.process_time()
    again = PartitionPipeline(0, routes, kind, budgets, Restored(values))
    restored_s = time.process_time() - began
    began = time.process_time()
    more = Workload(devices, devices * (MESSAGES_EACH + 1), workload.end_us)
    last = [record for batch in _records(more) for record in batch if record.offset >= workload.messages]
    made_s = time.process_time() - began
    began = time.process_time()
    again.process(last)
    touched_s = time.process_time() - began
    return {
        "devices": devices,
        "model": model,
        "memory_bytes": memory // devices,
        "changelog_bytes": sum(snapshots) // devices,
        "changelog_pages_bytes": sum(pages) // devices,
        "checkpoint_us": round(checkpoint_s / devices * 1e6, 1),
        "restart_cpu_s": round(restored_s, 2),
        "first_touch_us": round(touched_s / devices * 1e6, 1),
        "feed_us_per_message": round(
            (fed_s - made_s / (MESSAGES_EACH + 1) * MESSAGES_EACH) / workload.messages * 1e6, 1
        ),
    }


def models(devices: int, model: str) -> Entry:
    """The same devices' scorers alone, fed with the same readings."""
    spec = ModelSpec(name=model)
    decode = json.loads
    before = _rss()
    scorers: dict[str, DeviceScorer] = {}
    for message in Workload(devices, devices * MESSAGES_EACH, time.time_ns() // 1000).one_by_one():
        scorer = scorers.get(message.device)
        if scorer is None:
            scorer = scorers[message.device] = DeviceScorer(spec)
        scorer.update(message.at_us, decode(message.payload)["values"])
    memory = _rss() - before
    written = sum(len(msgspec.msgpack.encode(scorer.to_state())) for scorer in scorers.values())
    return {"memory_bytes": memory // devices, "changelog_bytes": written // devices}


def main() -> None:
    """One measurement, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("state", "models"))
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--model", choices=MODELS, default="bands")
    told = parser.parse_args()
    print(json.dumps({"state": state, "models": models}[told.what](told.devices, told.model)))


if __name__ == "__main__":
    main()
