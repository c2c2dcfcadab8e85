"""Kafka -> InfluxDB: telemetry.clean, three readings a record, a point each; one process."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from bench import measure
from bench.figures import Run
from bench.influx import RunDatabase
from bench.kafka_topics import Filling, RunTopics, put
from bench.processes import ROOT, Contender, ContenderFailed
from bench.servers import Servers, weir_environment
from bench.stage_bridge import telegraf
from bench.stage_stream import Program
from bench.workload import SENSORS, SITE, TENANT, Workload, key_of
from schemas import influx, topics
from schemas.telemetry import Clean, TimeSource

NOTES: Final = {
    "weir": "commits after InfluxDB has answered 204; reads and checks all of its topics",
    "plain": "lines by hand, synchronous writes, commits after each",
    "telegraf": "commits after its output has delivered",
    "influxdb_client": "cannot tell when a batch is stored: what waits is lost in a crash",
}
_HERE: Final = Path(__file__).parent
_LOOK_S: Final = 0.5
"""Counting points costs InfluxDB something."""


def program(contender: str, servers: Servers, prefix: str, database: str) -> Program:
    """The command and the environment of a contender."""
    told = {
        "PYTHONPATH": str(ROOT),
        "BENCH_KAFKA": servers.kafka,
        "BENCH_PREFIX": prefix,
        "BENCH_INFLUX": servers.influx,
        "BENCH_DATABASE": database,
    }
    match contender:
        case "weir":
            own = {
                "WEIR_INFLUX__BUCKET": database,
                "WEIR_INFLUX__BUCKET_LONG": database,
                "WEIR_SINK__GROUP": f"{prefix}sink",
            }
            return Program([sys.executable, "-m", "services.cli", "sink"], weir_environment(servers, prefix) | own)
        case "plain":
            return Program([sys.executable, "-m", "bench.contenders.plain_sink"], told)
        case "influxdb_client":
            return Program([sys.executable, "-m", "bench.contenders.influxdb_client_sink"], told)
        case "telegraf":
            return Program([telegraf(), "--config", str(_HERE / "contenders" / "telegraf_sink.conf")], told)
    raise ValueError(f"no contender of this stage: {contender}")


def once(contender: str, servers: Servers, workload: Workload, mark: int) -> Run:
    """One run over `workload`, counted from `mark` messages on. Raises `ContenderFailed`."""
    folder = servers.folder(f"sink-{contender}")
    with servers.run_topics() as there:
        prefix = there.settings.topic_prefix
        database = RunDatabase(servers.influx, prefix.rstrip("."))
        how = program(contender, servers, prefix, database.name)
        fill_clean(there, workload)
        process = Contender(how.command, how.environment, folder / "log")
        try:
            found = measure.run(process, lambda: _stored(database), workload.messages, mark, _LOOK_S)
            if (points := database.count(influx.READINGS, "value")) != workload.messages * len(SENSORS):
                raise ContenderFailed(f"{points} points, not {workload.messages * len(SENSORS)}")
        finally:
            process.stop(0.0)
            database.close()
    return found


def _stored(database: RunDatabase) -> int:
    return database.count(influx.READINGS, "value") // len(SENSORS)


def fill_clean(there: RunTopics, workload: Workload) -> None:
    """Put the workload on telemetry.clean, as the stream would."""
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder().decode
    records: list[Filling] = []
    for message in workload.encoded:
        record = Clean(
            id=f"{key_of(message.device)}:{message.at_us // 1000}:{message.seq}:0",
            tenant=TENANT,
            site=SITE,
            device=message.device,
            device_type="generic",
            event_us=message.at_us,
            received_us=message.at_us + 5_000,
            time_source=TimeSource.DEVICE,
            sent_ts=message.at_us // 1000,
            seq=message.seq,
            values=decode(message.payload)["values"],
        )
        records.append((key_of(message.device), encode(record), message.at_us, []))
    put(there, topics.CLEAN, records)
