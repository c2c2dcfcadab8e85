"""The drill's equality notices what is missing, too much, or not the same."""

import msgspec
import pytest

from services.runtime.routes import load_routes
from services.stream.arrival import RawRecord
from services.stream.device_types import load_device_types
from services.stream.pipeline import PartitionPipeline
from tests.faults.drill.equality import Equality

KEY = b"drill/d"
START_US = 1_700_000_000_000_000
CLEAN = "telemetry.clean"


def records() -> list[RawRecord]:
    return [
        RawRecord(
            seq,
            KEY,
            b'{"ts":%d,"seq":%d,"values":{"x":%d.5}}' % (START_US + seq * 1_000_000, seq, seq),
            {
                "mqtt-topic": b"weir/v1/drill/s/d/telemetry",
                "mqtt-dup": b"0",
                "received-at": b"%d" % (START_US + seq * 1_000_000),
                "route": b"telemetry",
            },
        )
        for seq in range(30)
    ]


@pytest.fixture
def done() -> tuple[Equality, list[tuple[str, bytes]]]:
    """An equality that has seen the raw log and a worker's state; and what the worker published."""
    equality = Equality("127.0.0.1:1")
    equality._pass(0, records())
    worker = PartitionPipeline(0, load_routes(None), load_device_types(None))
    published = [(topic, msgspec.json.encode(record)) for topic, _, record in worker.process(records())]
    for key, value in worker.take_changes():
        equality._state[key] = value
    return equality, [(topic, value) for topic, value in published if topic in equality._derived]


def test_the_same_records_and_state_are_equal_also_where_they_repeat(done):
    equality, published = done
    for topic, value in published + published[-5:]:
        equality._take(topic, KEY, value)
    assert equality.differences([KEY]) == []


def test_a_missing_record_is_a_difference(done):
    equality, published = done
    for topic, value in published[1:]:
        equality._take(topic, KEY, value)
    assert [found.split(": ")[0] for found in equality.differences([KEY])] == [published[0][0]]


def test_a_repeat_with_other_bytes_is_a_difference(done):
    equality, published = done
    for topic, value in published:
        equality._take(topic, KEY, value)
    topic, value = next(one for one in published if one[0] == CLEAN)
    equality._take(topic, KEY, value.replace(b".5", b".6"))
    assert len(equality.differences([KEY])) == 1


def test_another_state_is_a_difference(done):
    equality, published = done
    for topic, value in published:
        equality._take(topic, KEY, value)
    equality._state[KEY] += b"x"
    assert equality.differences([KEY]) == ["the state of drill/d is another one"]
