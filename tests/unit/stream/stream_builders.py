"""Messages, pipelines and what comes out of them, so that a test reads as a specification.

Seconds count from noon of 21 October 2026. Unless a test says otherwise, the device is acme/pump-1 at site north, and
the bridge receives a message two milliseconds after the device's time.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, settings

from schemas import raw as headers
from schemas import topics
from schemas.reasons import Reason
from services.runtime.routes import load_routes
from services.scoring.spec import ModelSpec
from services.stream import recovery
from services.stream.arrival import RawRecord
from services.stream.device_table import NOTHING_STORED, Restored
from services.stream.device_types import DeviceType, DeviceTypes, SensorType
from services.stream.pipeline import Budgets, Output, PartitionPipeline

WINDOW_FIELDS = ("count", "mean", "m2", "low", "high", "first", "first_us", "last", "last_us", "revision")
NOON_US = 1_792_584_000_000_000
SECOND_US = 1_000_000
DAY_S = 86_400
TRANSIT_S = 0.002
TEST_DATA = Path(__file__).parents[2] / "data"


def examples(count: int) -> settings:
    """Hypothesis with `count` examples, the same ones in each run."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


def at(second: float) -> int:
    """Unix µs of a second since noon."""
    return NOON_US + round(second * SECOND_US)


def raw(
    payload: Any,
    *,
    received: float = 0.0,
    device: str = "pump-1",
    site: str = "north",
    tenant: str = "acme",
    dup: bool = False,
    offset: int = 0,
    key: bytes | None = None,
    extra: dict[str, bytes] | None = None,
) -> RawRecord:
    """A record of telemetry.raw as the bridge writes it; `payload` is bytes, or what becomes JSON."""
    value = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    known = {
        headers.MQTT_TOPIC: f"weir/v1/{tenant}/{site}/{device}/telemetry".encode(),
        headers.MQTT_DUP: b"1" if dup else b"0",
        headers.RECEIVED_AT: b"%d" % at(received),
        headers.ROUTE: b"telemetry",
    }
    return RawRecord(offset, f"{tenant}/{device}".encode() if key is None else key, value, known | (extra or {}))


def message(
    second: float | None = None,
    seq: int | None = None,
    /,
    *,
    received: float | None = None,
    dup: bool = False,
    device: str = "pump-1",
    site: str = "north",
    tenant: str = "acme",
    **values: Any,
) -> RawRecord:
    """One message: `message(5.0, 17, temperature=21.5)` was sent five seconds after noon with seq 17."""
    payload: dict[str, Any] = {"values": values}
    if second is not None:
        payload["ts"] = at(second)
    if seq is not None:
        payload["seq"] = seq
    arrived = (second or 0.0) + TRANSIT_S if received is None else received
    return raw(payload, received=arrived, dup=dup, device=device, site=site, tenant=tenant)


def command(body: Any, *, received: float = 0.0, device: str = "pump-1", key: bytes | None = None) -> RawRecord:
    """An operator's command as `weir model` puts it into the log; `body` is bytes, or what becomes JSON."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {headers.OPERATOR_COMMAND: b"1", headers.RECEIVED_AT: b"%d" % at(received)}
    return RawRecord(0, f"acme/{device}".encode() if key is None else key, value, told)


def replay(record: RawRecord, of: str, readings: str | None = None) -> RawRecord:
    """The record as `weir dead-letter replay` sends it again."""
    told = {headers.REPLAY_OF: of.encode()} | ({headers.REPLAY_READINGS: readings.encode()} if readings else {})
    return record._replace(headers=record.headers | told)


def corrected(device: PartitionPipeline) -> None:
    """The devices under a type that allows a flow of 1000, as a worker that was started again has them."""
    for known in device._devices._devices.values():
        known.kind = DeviceType(sensors={"flow": SensorType(high=1000.0)})
        known.sensor_types = known.kind.sensors


def log(records: Iterable[RawRecord], start: int = 0) -> list[RawRecord]:
    """The records as they stand in a partition: offsets in order."""
    return [record._replace(offset=start + i) for i, record in enumerate(records)]


def pipeline(
    *,
    devices: int = 100,
    sensors: int = 64,
    devices_in_all: int = 1000,
    sensors_of_tenant: int = 10_000,
    sensors_in_all: int = 10_000,
    restored: Restored = NOTHING_STORED,
    model: str = "gaussian",
    types_of_sensors: dict[str, SensorType] | None = None,
    accept_late: bool = True,
) -> PartitionPipeline:
    """A pipeline of partition 3, all of whose devices are of the same type."""
    kind = DeviceType(model=ModelSpec(name=model), sensors=types_of_sensors or {}, accept_late=accept_late)
    types = DeviceTypes({"generic": kind}, [])
    budgets = Budgets(devices, sensors, devices_in_all, sensors_of_tenant, sensors_in_all)
    return PartitionPipeline(3, load_routes(None), types, budgets, restored)


def feed(to: PartitionPipeline, *records: RawRecord) -> list[Output]:
    """Process records, which get the next offsets."""
    start = to.__dict__.setdefault("_fed", 0)
    to.__dict__["_fed"] = start + len(records)
    return to.process(log(records, start))


def outputs_of(*records: RawRecord, **how: Any) -> list[Output]:
    """What a new pipeline makes of a log."""
    return pipeline(**how).process(log(records))


def only(topic: str, outputs: Iterable[Output]) -> list[Any]:
    """The records for one topic."""
    return [output.record for output in outputs if output.topic == topic]


def cleaned(outputs: Iterable[Output]) -> list[dict[str, float]]:
    return [record.values for record in only(topics.CLEAN, outputs)]


def buried(outputs: Iterable[Output]) -> list[tuple[Reason, str | None]]:
    """Reason and sensor of each dead letter."""
    return [(letter.reason, letter.sensor) for letter in only(topics.DEAD_LETTER, outputs)]


def bytes_of(outputs: Iterable[Output]) -> list[tuple[str, bytes, bytes]]:
    """Outputs as they go to Kafka."""
    return [(topic, key, msgspec.json.encode(record)) for topic, key, record in outputs]


def ledgers_add_up(of: PartitionPipeline) -> bool:
    return (of.totals.missing_messages, of.totals.missing_readings) == (0, 0)


class StateTopic:
    """The state topic's partition: what checkpoints have written so far."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []

    def checkpoint(self, of: PartitionPipeline) -> None:
        """State durable, then what is no longer needed removed."""
        self.records += [(change.key, change.value) for change in of.take_changes()]
        self.records += [(key, None) for key in of.take_expired()]

    def read(self) -> Restored:
        return recovery.merge(self.records)[0]

    def last(self) -> dict[bytes, bytes]:
        """By key, what stands on the topic."""
        return self.read().values


def in_batches(of: PartitionPipeline, records: Sequence[RawRecord], size: int) -> list[Output]:
    return [output for i in range(0, len(records), size) for output in of.process(records[i : i + size])]
