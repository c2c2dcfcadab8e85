"""Checkpoints that older versions of Weir wrote are taken up: see tests/golden/checkpoints/*/why.md."""

import json
from collections import Counter

import checkpoint_recording as recordings
import msgspec
import pytest
from stream_builders import ledgers_add_up

from schemas import topics
from services.stream import recovery
from services.stream.device_table import NOTHING_STORED

OF_MODELS = (topics.SCORES, topics.ANOMALIES)


@pytest.fixture(params=recordings.versions(), ids=lambda path: path.name)
def recording(request) -> recordings.Recording:
    return recordings.read(request.param)


def as_recorded(output, fields) -> dict:
    """An output as it goes to Kafka, with the fields that the old version knew."""
    content = json.loads(msgspec.json.encode(output.record))
    return {"topic": output.topic, "key": output.key.decode(), "record": {f: content.get(f) for f in fields}}


def test_an_old_checkpoint_is_gone_on_from_as_if_nothing_had_been(recording):
    restored, _ = recovery.merge(recording.state)
    partition = recording.open(restored)
    known = {line["topic"] for line in recording.expected}
    outputs = [o for o in partition.process(recording.raw[recording.settings.following :]) if o.topic in known]
    expected = recording.expected
    if partition.models_rebuilt:
        outputs = [o for o in outputs if o.topic not in OF_MODELS]
        expected = [line for line in expected if line["topic"] not in OF_MODELS]
    assert [(o.topic, o.record.id) for o in outputs] == [(line["topic"], line["record"]["id"]) for line in expected]
    assert [as_recorded(o, line["record"]) for o, line in zip(outputs, expected, strict=True)] == expected
    assert partition.skipped == 12


def test_its_ledger_goes_on_and_adds_up_to_that_of_the_whole_log(recording):
    partition = recording.open(recovery.merge(recording.state)[0])
    partition.process(recording.raw[recording.settings.following :])
    uncut = recording.open(NOTHING_STORED)
    uncut.process(recording.raw)
    assert ledgers_add_up(partition)
    assert partition.totals == uncut.totals
    assert partition.totals.received == len(recording.raw)


def test_the_recording_holds_what_a_checkpoint_can_hold(recording):
    restored, raw_topic = recovery.merge(recording.state)
    assert raw_topic is not None
    assert restored.stale
    assert None in {value for _, value in recording.state}
    partition = recording.open(restored)
    partition.process(recording.raw[recording.settings.following :][:60])
    devices = partition._devices._devices.values()
    assert any(device.anomaly for device in devices)
    assert any(device.sequence.holes for device in devices)
    assert any(device.recent_payloads.packed for device in devices)
    assert all(device.windows.pages for device in devices if "$" not in device.key)
    kinds = Counter(line["topic"] for line in recording.expected)
    assert kinds.keys() >= {topics.CLEAN, topics.SCORES, topics.AGGREGATES, topics.ANOMALIES, topics.DEAD_LETTER}
