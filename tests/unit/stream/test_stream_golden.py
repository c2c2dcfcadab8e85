"""The golden folders: `tests/golden/stream/<case>/`, each with input, expected output and the why.

`input.jsonl`: MQTT messages (`mqtt_topic`, `received_at`, `payload` or `payload_base64`, `dup`). `expected.jsonl`: what
is published, and the ledger at the end. `settings.yaml`: the topics to `show` and the fields to `leave_out`. Optional:
`device_types.yaml`. After a change that is meant: `WEIR_UPDATE_GOLDEN=1 pytest <this file>`, then read the difference.
"""

import base64
import json
import os
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from stream_builders import in_batches

from services.bridge.envelope import Envelope
from services.bridge.packets import Message
from services.runtime.routes import load_routes
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline

CASES = sorted(path.parent for path in (Path(__file__).parents[2] / "golden" / "stream").glob("*/why.md"))


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    show: list[str]
    leave_out: list[str] = []
    max_payload_bytes: int = 256 * 1024


def records(case: Path, settings: Settings) -> list[RawRecord]:
    """The case's messages as the bridge hands them on."""
    envelope = Envelope(load_routes(None), max_payload_bytes=settings.max_payload_bytes)
    log = []
    for offset, line in enumerate((case / "input.jsonl").read_text().splitlines()):
        sent = json.loads(line)
        payload = base64.b64decode(sent["payload_base64"]) if "payload_base64" in sent else sent["payload"].encode()
        received_us = round(datetime.fromisoformat(sent["received_at"]).timestamp() * 1e6)
        message = Message(sent["mqtt_topic"].encode(), payload, 1, dup=sent.get("dup", False), retain=False)
        sealed = envelope.seal(message, received_us)
        headers = {name: value.encode() if isinstance(value, str) else value for name, value in sealed.headers}
        log.append(RawRecord(offset, sealed.key, sealed.value, headers))
    return log


def lines_of(case: Path) -> list[dict]:
    """What the stream makes of the case."""
    settings = msgspec.yaml.decode((case / "settings.yaml").read_bytes(), type=Settings)
    types = case / "device_types.yaml"
    partition = PartitionPipeline(0, load_routes(None), load_device_types(types if types.exists() else None))
    lines = []
    for topic, _, record in in_batches(partition, records(case, settings), 3):
        if topic in settings.show:
            fields = msgspec.to_builtins(record)
            lines.append({"topic": topic, "record": {k: v for k, v in fields.items() if k not in settings.leave_out}})
    ledger = msgspec.structs.asdict(partition.totals)
    return [*lines, {"ledger": {name: count for name, count in ledger.items() if count}}]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_comes_out_as_expected(case):
    lines = lines_of(case)
    expected = case / "expected.jsonl"
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        expected.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert lines == [json.loads(line) for line in expected.read_text().splitlines()]


def test_there_are_cases():
    assert len(CASES) >= 8
