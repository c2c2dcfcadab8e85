"""The same log gives the same bytes: whatever the batching, through restarts and replays; and the ledgers add up."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import (
    StateTopic,
    bytes_of,
    cleaned,
    examples,
    in_batches,
    ledgers_add_up,
    log,
    message,
    only,
    pipeline,
)
from stream_logs import logs

from schemas import raw as headers
from schemas import topics
from services.stream.device_table import Restored

MODELS = ["bands", "gaussian", "half_space_trees", "snarimax"]


def final_state(of) -> dict[bytes, bytes]:
    state = StateTopic()
    state.checkpoint(of)
    return state.last()


def numbers_in(content) -> list[float]:
    if isinstance(content, dict):
        return [number for inner in content.values() for number in numbers_in(inner)]
    if isinstance(content, list | tuple):
        return [number for inner in content for number in numbers_in(inner)]
    return [content] if isinstance(content, float) else []


@examples(90)
@given(logs())
def test_the_ledgers_add_up_for_any_log(records):
    partition = pipeline(sensors=2, devices=2)
    outputs = partition.process(records)
    totals = partition.totals
    assert ledgers_add_up(partition)
    commands = [record for record in records if headers.OPERATOR_COMMAND in record.headers]
    assert totals.received == len(records) - len(commands)
    of_commands = {record.offset for record in commands}
    letters = [letter for letter in only(topics.DEAD_LETTER, outputs) if letter.offset not in of_commands]
    assert len(letters) == sum(totals.dead_messages.values()) + sum(totals.dead_readings.values())
    assert sum(map(len, cleaned(outputs))) == totals.readings_stored
    assert all(math.isfinite(number) for _, _, record in outputs for number in numbers_in(msgspec.to_builtins(record)))


@examples(90)
@given(logs())
def test_an_id_names_one_content(records):
    partition = pipeline()
    outputs = partition.process(records)
    restarted = {device.key_bytes for device in partition._devices._devices.values() if device.sequence.epoch}
    by_id: dict[tuple[str, str], bytes] = {}
    for topic, key, record in outputs:
        # Where a device restarts its counter, a repeat from before is no longer known as one.
        if key not in restarted or topic not in (topics.CLEAN, topics.SCORES):
            written = msgspec.json.encode(record)
            assert by_id.setdefault((topic, record.id), written) == written


@examples(40)
@given(logs())
def test_batching_changes_nothing(records):
    one, seven, whole = (pipeline(sensors=2, devices=2) for _ in range(3))
    expected = bytes_of(in_batches(whole, records, len(records)))
    assert bytes_of(in_batches(one, records, 1)) == expected
    assert bytes_of(in_batches(seven, records, 7)) == expected
    assert final_state(one) == final_state(seven) == final_state(whole)
    assert one.totals == seven.totals == whole.totals


@examples(70)
@given(logs(), st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_restarts_between_checkpoints_change_nothing(records, cuts):
    uncut = pipeline(sensors=2, devices=2)
    expected = bytes_of(uncut.process(records))
    state, outputs, at = StateTopic(), [], 0
    for cut in [*sorted(cuts), len(records)]:
        worker = pipeline(sensors=2, devices=2, restored=state.read())
        outputs += bytes_of(worker.process(records[at : max(at, cut)]))
        at = max(at, cut)
        state.checkpoint(worker)
    assert outputs == expected
    assert worker.totals == uncut.totals
    assert state.last() == final_state(uncut)


@examples(60)
@given(logs(), st.integers(0, 40), st.integers(0, 40))
def test_a_replay_changes_nothing_and_publishes_nothing(records, cut, back):
    worker = pipeline(sensors=2)
    worker.process(records[:cut])
    before = final_state(worker)
    restored = pipeline(sensors=2, restored=Restored(before))
    assert restored.process(records[max(0, cut - back) : cut]) == []
    assert restored.skipped == len(records[max(0, cut - back) : cut])
    assert before | final_state(restored) == before
    assert restored.totals == worker.totals


@examples(60)
@given(logs(), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_kill_within_a_checkpoint_that_wrote_some_states_and_not_others_changes_nothing(
    records, first, more, written
):
    """Outputs are durable before states, and some states may be durable before the offset is: the rest is replayed."""
    uncut = pipeline(sensors=2)
    expected = bytes_of(uncut.process(records))
    state = StateTopic()
    worker = pipeline(sensors=2)
    outputs = bytes_of(worker.process(records[:first]))
    state.checkpoint(worker)
    outputs += bytes_of(worker.process(records[first : first + more]))
    state.records += [(change.key, change.value) for change in worker.take_changes()[:written]]
    worker = pipeline(sensors=2, restored=state.read())
    outputs += bytes_of(worker.process(records[first:]))
    state.checkpoint(worker)
    assert set(outputs) == set(expected)
    assert worker.totals == uncut.totals
    assert {key: value for key, value in state.last().items() if b"|" not in key} == {
        key: value for key, value in final_state(uncut).items() if b"|" not in key
    }


def plant(messages: int) -> list:
    """Three devices of three sensors at 1 Hz, warm after two minutes, with faults, losses and late messages."""
    numbers = random.Random(5)
    records = []
    for i in range(messages):
        for pump in range(3):
            seq = i + 10 * pump
            if numbers.random() < 0.02:
                continue
            fault = 30.0 if pump == 1 and 300 <= i < 330 else 0.0
            values = {
                "flow": 20 + math.sin(i / 30) + numbers.gauss(0, 0.1) + fault,
                "gas": numbers.gauss(5, 1),
                "level": float(i // 50 % 3),
            }
            second = i - 70 if numbers.random() < 0.01 else i
            records.append(message(second, seq, received=i + 0.5, device=f"pump-{pump}", **values))
    return log(records)


@pytest.mark.parametrize("model", MODELS)
def test_scores_and_anomalies_are_bit_for_bit_those_of_a_run_without_restarts(model):
    records = plant(500)
    uncut = pipeline(model=model)
    expected = bytes_of(uncut.process(records))
    assert {topic for topic, _, _ in expected} >= {topics.SCORES, topics.ANOMALIES, topics.AGGREGATES, topics.GAPS}
    state, outputs = StateTopic(), []
    for at in range(0, len(records), 217):
        worker = pipeline(model=model, restored=state.read())
        outputs += bytes_of(worker.process(records[at : at + 217]))
        state.checkpoint(worker)
        assert worker.models_rebuilt == 0
    assert outputs == expected
    assert state.last() == final_state(uncut)


def test_another_model_for_a_device_learns_anew_and_keeps_the_rest():
    records = plant(150)
    worker = pipeline(model="gaussian")
    worker.process(records[:300])
    state = StateTopic()
    state.checkpoint(worker)
    restored = pipeline(model="bands", restored=state.read())
    outputs = restored.process(records[300:])
    assert restored.models_rebuilt == 3
    assert {score.state for score in only(topics.SCORES, outputs)} == {"learning"}
    assert ledgers_add_up(restored)
    assert restored.totals.received == len(records)
