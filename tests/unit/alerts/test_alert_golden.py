"""Cases as folders: rules and records in, events out, and why. A new case is a folder."""

from pathlib import Path

import msgspec
import pytest
from alert_records import Device

from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.telemetry import Aggregate

CASES = sorted((Path(__file__).parents[2] / "golden" / "alerts").iterdir())
RECORD = msgspec.json.Decoder(Anomaly | Aggregate)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path):
    assert (case / "why.md").read_text().strip()
    device = Device((case / "rules.yaml").read_text())
    records = [RECORD.decode(line) for line in (case / "records.jsonl").read_bytes().splitlines()]
    events = [event for record in records for event in device.read(record)]
    expected = [
        msgspec.json.decode(line, type=AlarmEvent) for line in (case / "expected.jsonl").read_bytes().splitlines()
    ]
    assert events == expected
