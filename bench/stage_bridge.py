"""MQTT -> Kafka: QoS 1, acknowledged when Kafka has it, the payload untouched, keyed by the device; one process.

The contender is subscribed, then the load is published as fast as Mosquitto takes it: what waits, waits in Mosquitto.
"""

import itertools
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from bench import measure
from bench.figures import Run
from bench.kafka_topics import RunTopics
from bench.load import Load
from bench.processes import ROOT, Contender, ContenderFailed
from bench.servers import Servers, weir_environment
from bench.stage_stream import Program
from bench.workload import Workload, topic_of
from schemas import topics

NOTES: Final = {
    "weir": "acknowledges when Kafka has it; bounded in flight, keeps MQTT's properties and time of receipt",
    "plain": "paho's loop, acknowledges from Kafka's delivery report",
    "telegraf": "acknowledges when its output has delivered; no headers",
}
_HERE: Final = Path(__file__).parent
_SUBSCRIBED_S: Final = 60.0


def telegraf() -> str:
    """Telegraf's binary, built where it is missing."""
    done = subprocess.run([_HERE / "install_telegraf.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def program(contender: str, servers: Servers, prefix: str) -> Program:
    """The command and the environment of a contender."""
    host, port = servers.mqtt
    told = {
        "PYTHONPATH": str(ROOT),
        "BENCH_KAFKA": servers.kafka,
        "BENCH_MQTT": f"{host}:{port}",
        "BENCH_PREFIX": prefix,
        "BENCH_CLIENT": f"client-{prefix}",
    }
    match contender:
        case "weir":
            own = {"WEIR_BRIDGE__CLIENT_ID": told["BENCH_CLIENT"]}
            return Program([sys.executable, "-m", "services.cli", "bridge"], weir_environment(servers, prefix) | own)
        case "plain":
            return Program([sys.executable, "-m", "bench.contenders.plain_bridge"], told)
        case "telegraf":
            return Program([telegraf(), "--config", str(_HERE / "contenders" / "telegraf_bridge.conf")], told)
    raise ValueError(f"no contender of this stage: {contender}")


def once(contender: str, servers: Servers, workload: Workload, mark: int) -> Run:
    """One run over `workload`, counted from `mark` messages on. Raises `ContenderFailed`."""
    folder = servers.folder(f"bridge-{contender}")
    with servers.run_topics() as there:
        how = program(contender, servers, there.settings.topic_prefix)
        process = Contender(how.command, how.environment, folder / "log")
        load = Load(servers.mqtt, [(topic_of(one.device), one.payload) for one in workload.encoded])
        try:
            before = wait_subscribed(servers, there, process)
            flood = threading.Thread(target=load.flood, daemon=True)
            flood.start()
            found = measure.run(process, lambda: there.count(topics.RAW) - before, workload.messages, mark)
            flood.join(_SUBSCRIBED_S)
            check(there, workload, before)
        finally:
            load.close()
            process.stop(0.0)
            end_session(servers, f"client-{there.settings.topic_prefix}")
    return found


def wait_subscribed(servers: Servers, there: RunTopics, process: Contender) -> int:
    """Publish something until it arrives, and until no more of it does; returns how much that was."""
    until = time.monotonic() + _SUBSCRIBED_S
    for number in itertools.count(1):
        process.check()
        probe = Load(servers.mqtt, [(topic_of("probe"), b'{"probe":%d}' % number)], connections=1)
        probe.flood()
        probe.close()
        arrived = there.count(topics.RAW)
        if arrived:
            break
        if time.monotonic() > until:
            raise ContenderFailed(f"did not subscribe in {_SUBSCRIBED_S:.0f} s")
        time.sleep(0.5)
    while (now := settled(there)) != arrived:
        arrived = now
    return arrived


def settled(there: RunTopics) -> int:
    """What is on telemetry.raw two seconds from now: longer than any contender holds a message back."""
    time.sleep(2.0)
    return there.count(topics.RAW)


def check(there: RunTopics, workload: Workload, before: int) -> None:
    """Raises `ContenderFailed` where the log does not hold each payload, untouched, once."""
    values = [value for value in there.records(topics.RAW) if not value.startswith(b'{"probe"')]
    if sorted(values) != sorted(one.payload for one in workload.encoded):
        raise ContenderFailed(f"{len(values)} payloads on the log, not the {workload.messages} sent ({before} before)")


def end_session(servers: Servers, client_id: str) -> None:
    """Take a contender's session from Mosquitto, so that it queues nothing more for it."""
    name = client_id.encode()
    with socket.create_connection(servers.mqtt, timeout=10) as connection:
        body = b"\0\4MQTT\5\2\0\0\0" + struct.pack(">H", len(name)) + name
        connection.sendall(b"\x10" + bytes((len(body),)) + body)
        connection.recv(64)
        connection.sendall(b"\xe0\0")
