"""Checkpoints as a version of Weir wrote them: `tests/golden/checkpoints/<version>/`, read back and recorded.

`raw.jsonl`: the partition's raw log. `state.jsonl`: the state topic's records in their order, values in base64.
`expected.jsonl`: what the version that wrote them went on to publish. `settings.yaml`: the rest.

A later version's checkpoint is recorded, once, by `PYTHONPATH=.:tests/unit/stream python
tests/unit/stream/checkpoint_recording.py 0.2.0`; an existing one is never written again.
"""

import base64
import json
import math
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from schemas import topics
from services.runtime.routes import load_routes
from services.stream import recovery
from services.stream.arrival import RawRecord
from services.stream.device_table import Restored
from services.stream.device_types import load_device_types
from services.stream.pipeline import Budgets, PartitionPipeline
from services.stream.worker import Worker

FOLDER = Path(__file__).parents[2] / "golden" / "checkpoints"
PARTITION = 3


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """How it was set up. `following`: the committed offset; the commit of the last checkpoint was lost."""

    following: int
    devices_per_tenant: int
    sensors_per_device: int


class Recording(msgspec.Struct):
    """One folder."""

    path: Path
    settings: Settings
    raw: list[RawRecord]
    state: list[tuple[bytes, bytes | None]]
    expected: list[dict]

    def open(self, restored: Restored) -> PartitionPipeline:
        return open_partition(self.path, self.settings, restored)


def versions() -> list[Path]:
    return sorted(path.parent for path in FOLDER.glob("*/settings.yaml"))


def read(path: Path) -> Recording:
    def lines(name: str) -> list[dict]:
        return [json.loads(line) for line in (path / name).read_text().splitlines()]

    return Recording(
        path,
        msgspec.yaml.decode((path / "settings.yaml").read_bytes(), type=Settings),
        [
            RawRecord(n, r["key"].encode(), r["value"].encode(), {k: v.encode() for k, v in r["headers"].items()})
            for n, r in enumerate(lines("raw.jsonl"))
        ],
        [
            (r["key"].encode(), None if r["value"] is None else base64.b64decode(r["value"]))
            for r in lines("state.jsonl")
        ],
        lines("expected.jsonl"),
    )


def open_partition(path: Path, settings: Settings, restored: Restored) -> PartitionPipeline:
    types = load_device_types(path / "device_types.yaml")
    budgets = Budgets(devices_per_tenant=settings.devices_per_tenant, sensors_per_device=settings.sensors_per_device)
    return PartitionPipeline(PARTITION, load_routes(None), types, budgets, restored)


# ------------------------------------------------------------------------------------------------------------ recording

START_US = 1_792_584_000_000_000
STEP_S = 5
BEFORE, AFTER = 70, 20
"""Steps until the last checkpoint, and after it."""
TYPES = """types:
  press: {model: {name: bands, warm_up: 40}}
  pump: {sensors: {flow: {low: -50, high: 200}}, model: {name: gaussian, warm_up: 40}}
  fan: {model: {name: half_space_trees, warm_up: 40, trees: 2, height: 3}}
assign:
  - {pattern: "*/press-*", type: press}
  - {pattern: "*/pump-*", type: pump}
  - {pattern: "*/fan-*", type: fan}
"""


def _message(device: str, second: float, payload: object, *, site: str = "north", dup: bool = False) -> RawRecord:
    """A message of `tenant/device`, received two milliseconds after `second`."""
    tenant, _, name = device.partition("/")
    value = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    headers = {
        "mqtt-topic": f"weir/v1/{tenant}/{site}/{name}/telemetry".encode(),
        "mqtt-dup": b"1" if dup else b"0",
        "received-at": b"%d" % (START_US + round(second * 1e6) + 2000),
        "route": b"telemetry",
    }
    return RawRecord(0, device.encode(), value, headers)


def plant() -> Iterable[RawRecord]:
    """Six devices and strangers; what it shows is told in why.md."""
    numbers = random.Random(20)
    yield _message("acme/old-1", -8 * 86_400, {"ts": START_US - 8 * 86_400_000_000, "values": {"flow": 1}})
    for step in range(BEFORE + AFTER):
        second = step * STEP_S
        ts = START_US + second * 1_000_000
        fault = 40.0 if step >= BEFORE - 2 and step < BEFORE + 6 else 0.0

        def noise(around: float, spread: float) -> float:
            return round(numbers.gauss(around, spread), 2)

        level = 20 + round(3 * math.sin(step / 9), 2)
        values = {"flow": noise(level + fault, 0.3), "gas": noise(5, 0.2)}
        if step % 23 != 11:  # a hole in seq, open for a while: the number comes 5 steps late
            yield _message("acme/press-1", second, {"ts": ts, "seq": step, "values": values})
        if step % 23 == 16:
            late = {"ts": ts - 25_000_000, "seq": step - 5, "values": {"flow": level, "gas": 5.0}}
            yield _message("acme/press-1", second + 1, late)
        pump = {"ts": ts // 1000, "seq": step + step // 30, "values": {"flow": noise(60 + fault, 1)}}
        yield _message("acme/pump-1", second, pump, site="south" if step > 40 else "north")
        yield _message("acme/fan-1", second, {"ts": ts // 1_000_000, "values": {"spin": noise(900 + 10 * fault, 8)}})
        if step % 7 == 3:
            again = {"ts": ts // 1_000_000 - 35, "values": {"spin": 1.0}}
            yield _message("acme/fan-1", second + 1, again)
            yield _message("acme/fan-1", second + 2, again, dup=True)
        if step % 2 == 0:
            yield _message("acme/meter-1", second, {"values": {"count": step // 4}})
            yield _message("acme/meter-1", second, {"values": {"count": step // 4}}, dup=True)
        if step % 3 == 0:
            yield _message("beta/pump-1", second, {"ts": ts, "seq": step // 3, "values": {"flow": noise(5, 1)}})
        if step % 10 == 5:
            more = {"flow": 7, "odd": "text", "a": 1, "b": 2, "c": 3, "flow two": 4}
            yield _message("acme/valve-1", second, {"ts": ts, "values": more})
            yield _message("acme/extra-1", second, {"ts": ts, "values": {"flow": 1}})
            yield _message("acme/extra-1", second, {"ts": ts, "values": {"flow": 1}}, dup=True)
            yield _message("acme/press-1", second + 1, b"{no json")
            yield _message("beta/pump-1", second, {"ts": ts, "seq": 10**6, "values": {"flow": 1}})._replace(key=b"$/$")


class _Log:
    """Kafka as a worker sees it."""

    def __init__(self) -> None:
        self.state: list[tuple[bytes, bytes | None]] = []
        self.published: list[dict] = []

    def send(self, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        if topic == topics.STREAM_STATE:
            self.state.append((key, value))
        else:
            self.published.append({"topic": topic, "key": key.decode(), "record": json.loads(value or b"null")})

    def flush(self) -> None:
        pass

    def commit(self, offsets: Mapping[int, int]) -> bool:
        return True


def _write_lines(path: Path, lines: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines))


def record(version: str) -> None:
    """Record what the present code makes of the plant."""
    path = FOLDER / version
    path.mkdir(parents=True)
    (path / "device_types.yaml").write_text(TYPES)
    raw = [record._replace(offset=offset) for offset, record in enumerate(plant())]
    last = START_US + BEFORE * STEP_S * 1_000_000
    cut = next(r.offset for r in raw if int(r.headers["received-at"]) >= last)
    settings = Settings(following=cut - 12, devices_per_tenant=5, sensors_per_device=4)
    log = _Log()
    worker = Worker(log, lambda _, restored: open_partition(path, settings, restored))
    log.send(topics.STREAM_STATE, PARTITION, recovery.RAW_TOPIC_KEY, b"raw-topic-of-the-recording")
    worker.assign(PARTITION, Restored({}), 0)

    def process(first: int, following: int) -> None:
        accepted = worker.accept(PARTITION, raw[first:following], holes_are_real=False)
        worker.publish(PARTITION, worker.partitions[PARTITION].pipeline.process(accepted))

    process(0, cut // 2)
    worker.checkpoint()
    frozen = next(change for change in log.state if change[0] == b"acme/pump-1")
    early = [change for change in log.state if b"|" in change[0] or change[0] == recovery.RAW_TOPIC_KEY]
    log.state.clear()
    process(cut // 2, cut)
    worker.checkpoint()
    log.published.clear()
    # As Kafka would hold it, compacted; and a frozen worker wrote an old state late.
    later = {key for key, _ in log.state}
    state = [*(change for change in early if change[0] not in later), *log.state, frozen]
    process(cut, len(raw))
    (path / "settings.yaml").write_bytes(msgspec.yaml.encode(settings))
    _write_lines(
        path / "raw.jsonl",
        (
            {"key": r.key.decode(), "value": r.value.decode(), "headers": {k: v.decode() for k, v in r.headers.items()}}
            for r in raw
        ),
    )
    _write_lines(
        path / "state.jsonl",
        ({"key": k.decode(), "value": None if v is None else base64.b64encode(v).decode()} for k, v in state),
    )
    _write_lines(path / "expected.jsonl", log.published)


if __name__ == "__main__":
    record(sys.argv[1])
