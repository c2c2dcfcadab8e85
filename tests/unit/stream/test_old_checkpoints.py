"""Checkpoints that older versions of Weir wrote are taken up: see tests/golden/checkpoints/*/why.md."""

import json
from collections import Counter

import checkpoint_recording as recordings
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import WINDOW_FIELDS, StateTopic, examples, feed, ledgers_add_up, log, message, pipeline

from schemas import topics
from services.scoring.device import DeviceScorer
from services.stream import recovery
from services.stream.device import VERSION, UnreadableSnapshot, applied_of, read_snapshot, restore
from services.stream.device_table import NOTHING_STORED, Restored
from services.stream.device_types import load_device_types
from services.stream.oversight import Oversight
from services.stream.window import Window, unpack_first_form
from services.stream.worker import Worker

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


def test_models_of_0_1_0_learn_anew_each_counted():
    recording = recordings.read(recordings.FOLDER / "0.1.0")
    restored = recovery.merge(recording.state)[0]
    partition = recording.open(restored)
    outputs = partition.process(recording.raw[recording.settings.following :])
    heard = [key for key in partition._devices._devices if key in restored.values]
    assert {b"acme/press-1", b"acme/pump-1", b"acme/fan-1"} <= set(heard)
    assert partition.models_rebuilt == len(heard)
    assert {o.record.state for o in outputs if o.topic == topics.SCORES} == {"learning"}


def test_a_device_whose_models_learn_anew_keeps_all_else():
    recording = recordings.read(recordings.FOLDER / "0.1.0")
    types = load_device_types(recording.path / "device_types.yaml")
    for key in ("acme/press-1", "acme/pump-1", "acme/fan-1"):
        written = recovery.merge(recording.state)[0].values[key.encode()]
        device, with_models = restore(key, written, {}, types.of(key))
        assert not with_models
        kept, before = read_snapshot(key, device.snapshot()), read_snapshot(key, written)
        assert kept.scorer == DeviceScorer(types.of(key).model).to_state()
        assert applied_of(device.snapshot()) == applied_of(written)
        assert kept.oversight == Oversight(restarted=True), "an event will say so"
        assert [told(e.window) for e in device.windows.still_open(0, 2**60)] == [
            told(unpack_first_form(window)) for _, _, windows in before.open_windows for window in windows.values()
        ]
        other = {"scorer": None, "version": 0, "open_windows": b"", "oversight": None}  # what has another form since
        assert msgspec.structs.replace(kept, **other) == msgspec.structs.replace(before, **other)


def told(window: Window) -> list:
    """All that a window has to say."""
    return [*(getattr(window, name) for name in WINDOW_FIELDS), window.quantiles.levels, window.quantiles.turns]


def test_the_worker_tells_once_whose_models_learn_anew():
    recording = recordings.read(recordings.FOLDER / "0.1.0")
    worker = Worker(None, lambda _, restored: recording.open(restored))
    worker.assign(recordings.PARTITION, recovery.merge(recording.state)[0], recording.settings.following)
    at_once = worker.models_rebuilt()
    pipeline = worker.partitions[recordings.PARTITION].pipeline
    pipeline.process(recording.raw[recording.settings.following :])
    assert at_once + worker.models_rebuilt() == pipeline.models_rebuilt > at_once
    assert worker.models_rebuilt() == 0


def test_an_anomaly_that_was_open_at_the_upgrade_is_closed_by_its_quiet():
    recording = recordings.read(recordings.FOLDER / "0.1.0")
    partition = recording.open(recovery.merge(recording.state)[0])
    outputs = partition.process(recording.raw[recording.settings.following :])
    phases = [o.record.phase for o in outputs if o.topic == topics.ANOMALIES]
    assert phases
    assert set(phases) == {"closed"}


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
    assert partition.models_rebuilt or any(device.anomaly for device in devices)
    assert any(device.sequence.holes for device in devices)
    assert any(device.recent_payloads.packed for device in devices)
    assert all(device.windows.page_ids() for device in devices if "$" not in device.key)
    kinds = Counter(line["topic"] for line in recording.expected)
    assert kinds.keys() >= {topics.CLEAN, topics.SCORES, topics.AGGREGATES, topics.ANOMALIES, topics.DEAD_LETTER}


# ---------------------------------------------------------------------------------------------------- what is no state


def written(**values: float) -> tuple[bytes, bytes, bytes, bytes]:
    """Key and value of a device's snapshot, and of one of its pages."""
    partition, state = pipeline(), StateTopic()
    feed(partition, *(message(5 * n, n, **values) for n in range(30)))
    state.checkpoint(partition)
    page = next(key for key in state.last() if b"|" in key)
    return b"acme/pump-1", state.last()[b"acme/pump-1"], page, state.last()[page]


def test_a_snapshot_that_was_cut_off_anywhere_is_refused_at_the_start():
    key, snapshot, _, _ = written(flow=1.0)
    for length in range(len(snapshot)):
        with pytest.raises(UnreadableSnapshot, match="weir stream --rebuild"):
            pipeline(restored=Restored({key: snapshot[:length]}))


def test_a_page_that_was_cut_off_anywhere_is_refused_at_the_start():
    key, snapshot, page_key, page = written(flow=1.0)
    for length in range(len(page)):
        with pytest.raises(UnreadableSnapshot, match="weir stream --rebuild"):
            pipeline(restored=Restored({key: snapshot, page_key: page[:length]}))


@pytest.mark.parametrize("key", [b"acme/pump-1|10", b"acme/pump-1|ten|0", b"\xff|1|1|", b"acme/pump-1", b"\xff", b"|"])
def test_what_nobody_of_ours_wrote_is_refused_at_the_start(key):
    with pytest.raises(UnreadableSnapshot):
        pipeline(restored=Restored({key: b"\0" * 8 + b"\x93\x01\x00\xc0"}))


def test_the_snapshot_of_a_version_to_come_is_refused_whatever_stands_in_it():
    to_come = b"\0" * 8 + msgspec.msgpack.encode([VERSION + 1, {"anything": 1}])
    with pytest.raises(UnreadableSnapshot, match=f"has version {VERSION + 1}"):
        pipeline(restored=Restored({b"acme/pump-1": to_come}))


def test_fields_that_a_later_weir_added_are_left_alone_by_this_one():
    key, snapshot, _, _ = written(flow=1.0)
    fields = msgspec.msgpack.decode(snapshot[8:])
    later = snapshot[:8] + msgspec.msgpack.encode([*fields, "more"])
    restored = pipeline(restored=Restored({key: later}))
    assert restored.totals.received == 30
    assert len(restored.process(log([message(150, 30, flow=1.0)], start=30))) > 0


@examples(300)
@given(st.integers(8, 2000), st.binary(min_size=1, max_size=4))
def test_bytes_changed_at_random_are_refused_or_read_and_nothing_else(at, bytes_there):
    """Kafka's checksums keep changed bytes from coming so far; those that make another state cannot be told."""
    key, snapshot, _, _ = _A_STATE
    at = min(at, len(snapshot) - 1)
    changed = snapshot[:at] + bytes_there + snapshot[at + len(bytes_there) :]
    try:
        pipeline(restored=Restored({key: changed}))
    except UnreadableSnapshot:
        pass


_A_STATE = written(flow=1.0)
