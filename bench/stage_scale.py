"""Scale: one and two stream workers, one and two bridges, on the same messages; and what a rebalance costs.

More processes on the same two cores are not faster: what is looked at is whether a message costs more when the work is
shared, how evenly it is shared, and how long the partitions of a worker that leaves stand still.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from bench.figures import Entry
from bench.kafka_topics import PARTITIONS, RunTopics, fill
from bench.load import Load
from bench.plan import WARM_EACH
from bench.processes import Contender, ContenderFailed
from bench.servers import Servers, weir_environment
from bench.stage_bridge import end_session, wait_subscribed
from bench.workload import Workload, topic_of
from schemas import topics

MODEL: Final = "light"
_DEVICES: Final = 1_000
_COUNTS: Final = (1, 2)
_LOOK_S: Final = 0.1
_STANDSTILL_S: Final = 120.0
_READY_S: Final = 120.0
_REBALANCE_PER_S: Final = 500
_REBALANCE_S: Final = 30.0


def measure(servers: Servers, messages: int) -> dict[str, Entry]:
    """Figures by what ran: `stream_1`, `stream_2`, `rebalance`, `bridge_1`, `bridge_2`. Raises `ContenderFailed`."""
    workload = Workload(_DEVICES, _DEVICES * WARM_EACH + messages, time.time_ns() // 1000)
    found = {f"stream_{count}": _streams(servers, workload, count) for count in _COUNTS}
    found["rebalance"] = _rebalance(servers)
    return found | {f"bridge_{count}": _bridges(servers, workload, count) for count in _COUNTS}


class Workers:
    """Stream workers of one group over the topics of one run; all leave when the block ends."""

    def __init__(self, servers: Servers, there: RunTopics, count: int) -> None:
        prefix = there.settings.topic_prefix
        self.group = f"{prefix}stream"
        self.there = there
        folder = servers.folder(f"scale-stream-{count}")
        types = folder / "device_types.yaml"
        types.write_text(json.dumps({"types": {"generic": {"model": {"name": MODEL}}}}), encoding="utf-8")
        self.processes = []
        for number in range(count):
            environment = weir_environment(servers, prefix) | {
                "WEIR_STREAM__DEVICE_TYPES_FILE": str(types),
                "WEIR_STREAM__GROUP": self.group,
                "WEIR_STREAM__DATA_DIR": str(folder / f"faust-{number}"),
                "WEIR_METRICS__INSTANCE": f"stream-{number}",
            }
            command = [sys.executable, "-m", "services.cli", "stream"]
            self.processes.append(Contender(command, environment, folder / f"log-{number}"))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.stop(20.0)

    def wait_shared(self) -> list[int]:
        """Wait until each has partitions and all partitions have an owner; partitions of each member."""
        until = time.monotonic() + _READY_S
        while True:
            for process in self.processes:
                process.check()
            held = self.there.members(self.group)
            if len(held) == len(self.processes) and min(held) > 0 and sum(held) == self.there.settings.partitions:
                return held
            if time.monotonic() > until:
                raise ContenderFailed(f"after {_READY_S:.0f} s the members have {held} partitions")
            time.sleep(_LOOK_S)


def _streams(servers: Servers, workload: Workload, count: int) -> Entry:
    with servers.run_topics() as there, Workers(servers, there, count) as workers:
        partitions = workers.wait_shared()
        before = [process.cpu_s() for process in workers.processes]
        began = time.monotonic()
        fill(there, workload)
        _wait(lambda: there.count(topics.SCORES), workload.messages, workers.processes)
        took_s = time.monotonic() - began
        used = [process.stop() - cpu_s for process, cpu_s in zip(workers.processes, before, strict=True)]
        records = list(there.ends(topics.RAW).values())
    return _entry(used, workload.messages, took_s) | {
        "partitions": partitions,
        "records_by_partition": records,
    }


def _rebalance(servers: Servers) -> Entry:
    """Two workers at an easy rate, of which one is asked to leave: how long its partitions put out nothing."""
    seconds = round(_REBALANCE_S)
    workload = Workload(_REBALANCE_PER_S, _REBALANCE_PER_S * seconds, time.time_ns() // 1000)
    with servers.run_topics() as there, Workers(servers, there, 2) as workers:
        workers.wait_shared()
        feeding = threading.Thread(target=fill, args=(there, workload, _REBALANCE_PER_S))
        feeding.start()
        stays, leaves = workers.processes
        _wait(lambda: there.count(topics.SCORES), workload.messages // 3, workers.processes)
        leaving = threading.Thread(target=leaves.stop)
        leaving.start()
        began = time.monotonic()
        moved = dict.fromkeys(range(PARTITIONS), (0, began))
        stood_s = 0.0
        while sum(end for end, _ in moved.values()) < workload.messages:
            stays.check()
            given, done, now = there.ends(topics.RAW), there.ends(topics.SCORES), time.monotonic()
            for partition, (known, since) in moved.items():
                if done[partition] > known or done[partition] == given[partition]:
                    moved[partition] = (done[partition], now)
                else:
                    stood_s = max(stood_s, now - since)
            if now - began > _STANDSTILL_S:
                raise ContenderFailed(f"{sum(done.values())} of {workload.messages} messages after the rebalance")
            time.sleep(_LOOK_S)
        feeding.join()
        leaving.join()
        scores = there.count(topics.SCORES)
    if scores != workload.messages:
        raise ContenderFailed(f"{scores} scores of {workload.messages} messages: some were worked off twice")
    return {"messages": workload.messages, "longest_standstill_s": round(stood_s, 2)}


def _bridges(servers: Servers, workload: Workload, count: int) -> Entry:
    """Bridges on one shared subscription."""
    with servers.run_topics() as there, ExitStack() as ending:
        prefix = there.settings.topic_prefix
        folder = servers.folder(f"scale-bridge-{count}")
        bridges = []
        for number in range(count):
            client = f"client-{number}-{prefix}"
            environment = weir_environment(servers, prefix) | {
                "WEIR_BRIDGE__CLIENT_ID": client,
                "WEIR_BRIDGE__SHARED_GROUP": prefix.rstrip("."),
            }
            bridge = Contender([sys.executable, "-m", "services.cli", "bridge"], environment, folder / f"log-{number}")
            ending.callback(end_session, servers, client)
            ending.callback(bridge.stop, 20.0)
            bridges.append(bridge)
            before = wait_subscribed(servers, there, bridge)
        load = Load(servers.mqtt, [(topic_of(one.device), one.payload) for one in workload.encoded])
        ending.callback(load.close)
        cpu_before = [bridge.cpu_s() for bridge in bridges]
        began = time.monotonic()
        flood = threading.Thread(target=load.flood, daemon=True)
        flood.start()
        _wait(lambda: there.count(topics.RAW) - before, workload.messages, bridges)
        took_s = time.monotonic() - began
        used = [bridge.stop() - cpu_s for bridge, cpu_s in zip(bridges, cpu_before, strict=True)]
    return _entry(used, workload.messages, took_s)


def _entry(used: Sequence[float], messages: int, took_s: float) -> Entry:
    return {
        "messages": messages,
        "cpu_s_per_million": round(sum(used) / messages * 1e6, 1),
        "per_s": round(messages / took_s),
        "share_of_cpu": [round(part / sum(used), 2) for part in used],
    }


def _wait(done: Callable[[], int], total: int, processes: Sequence[Contender]) -> None:
    moved_at, last = time.monotonic(), 0
    while (now := done()) < total:
        for process in processes:
            process.check()
        if now > last:
            moved_at, last = time.monotonic(), now
        elif time.monotonic() - moved_at > _STANDSTILL_S:
            raise ContenderFailed(f"stood still at {now} of {total} messages: {processes[0].said()}")
        time.sleep(_LOOK_S)
