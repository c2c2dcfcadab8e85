"""Cleaning: which readings of a message are good, and why the others are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_builders import (
    buried,
    cleaned,
    examples,
    feed,
    ledgers_add_up,
    log,
    message,
    only,
    outputs_of,
    pipeline,
    raw,
)

from schemas import topics
from schemas.reasons import Reason, Stage
from services.stream.decoders import Element
from services.stream.device_types import SensorType
from services.stream.pipeline import DECODERS

NAN = float("nan")


@pytest.mark.parametrize("name", ["t", "T.in-1_a:b", "bus/3/temp", "x" * 64])
def test_names_of_sensors(name):
    assert cleaned(outputs_of(message(0, 1, **{name: 1.0}))) == [{name: 1.0}]


@pytest.mark.parametrize("name", ["", " ", "temp °C", "x" * 65, "a\nb", "a,b", "naïve", "t\n"])
def test_what_is_no_name_goes_to_the_dead_letter_alone(name):
    outputs = outputs_of(message(0, 1, **{name: 1.0, "good": 2.0}))
    assert cleaned(outputs) == [{"good": 2.0}]
    assert buried(outputs) == [(Reason.BAD_SENSOR, name)]


@pytest.mark.parametrize(
    "odd", [NAN, float("inf"), -float("inf"), "warm", "21.5", "", [1], {"v": 1}, [], {}, 10**400, True, False]
)
def test_what_is_no_number_goes_to_the_dead_letter_alone(odd):
    outputs = outputs_of(message(0, 1, bad=odd, good=2.0))
    assert cleaned(outputs) == [{"good": 2.0}]
    assert buried(outputs) == [(Reason.NOT_A_NUMBER, "bad")]


def test_null_is_a_missing_value_and_no_reading():
    device = pipeline()
    assert cleaned(feed(device, message(0, 1, missing=None, good=2.0))) == [{"good": 2.0}]
    assert device.totals.readings_decoded == 1


@pytest.mark.parametrize("value", [0.0, -0.0, 5, -5.5, 1e100, -1e100, 5e-324, 2**53 + 1])
def test_numbers(value):
    assert cleaned(outputs_of(message(0, 1, flow=value))) == [{"flow": float(value)}]


@pytest.mark.parametrize("value", [1.01e100, -1e101, 1.7976931348623157e308, 10**101])
def test_what_would_overflow_a_variance_is_out_of_range(value):
    outputs = outputs_of(message(0, 1, flow=1.0), message(1, 2, flow=value, other=value))
    assert buried(outputs) == [(Reason.OUT_OF_RANGE, "flow"), (Reason.OUT_OF_RANGE, "other")]


def test_a_type_declares_a_range_its_ends_included():
    device = pipeline_of(SensorType(low=-40, high=150))
    values = [-40.0, 150.0, 150.1, -40.1]
    outputs = feed(device, *(message(second, second, flow=value) for second, value in enumerate(values)))
    assert cleaned(outputs) == [{"flow": -40.0}, {"flow": 150.0}]
    assert buried(outputs) == [(Reason.OUT_OF_RANGE, "flow")] * 2


def test_a_declared_range_cannot_reach_beyond_what_can_be_computed_with():
    assert buried(feed(pipeline_of(SensorType(low=-1e300, high=1e300)), message(0, 1, flow=1e200))) == [
        (Reason.OUT_OF_RANGE, "flow")
    ]


def pipeline_of(flow: SensorType):
    """All devices have a sensor `flow` like this."""
    return pipeline(types_of_sensors={"flow": flow})


def test_a_type_declares_how_fast_a_value_may_change():
    device = pipeline_of(SensorType(max_rate_per_s=10))
    outputs = feed(
        device,
        message(0, 1, flow=20.0),
        message(1, 2, flow=30.0),
        message(2, 3, flow=41.0),  # 11 a second
        message(4, 4, flow=50.0),  # 20 in three seconds since the last good one
        message(4, 5, flow=500.0),  # no time has passed: no rate
        message(3, 6, flow=500.0),  # out of order: nothing to compare with
    )
    assert buried(outputs) == [(Reason.OUT_OF_RANGE, "flow")]
    assert [values["flow"] for values in cleaned(outputs)] == [20.0, 30.0, 50.0, 500.0, 500.0]


def test_a_real_step_is_believed_once_enough_time_has_passed():
    device = pipeline_of(SensorType(max_rate_per_s=10))
    outputs = feed(device, *(message(second, second, flow=20.0 if second < 5 else 60.0) for second in range(12)))
    assert len(buried(outputs)) == 3
    assert cleaned(outputs)[-1] == {"flow": 60.0}


def test_booleans_become_numbers_only_where_the_type_declares_them():
    device = pipeline(types_of_sensors={"running": SensorType(boolean=True), "flow": SensorType()})
    outputs = feed(device, message(0, 1, running=True, flow=True, other=False), message(1, 2, running=False))
    assert cleaned(outputs) == [{"running": 1.0}, {"running": 0.0}]
    assert buried(outputs) == [(Reason.NOT_A_NUMBER, "flow"), (Reason.NOT_A_NUMBER, "other")]


# -------------------------------------------------------------------------------------------------------- collisions


def test_the_same_time_without_seq_and_another_value_is_a_collision_and_the_same_value_a_duplicate():
    device = pipeline()
    outputs = feed(device, message(0, flow=20.0), message(0, flow=21.0), message(0, flow=20.0, other=1.0))
    assert cleaned(outputs) == [{"flow": 20.0}, {"other": 1.0}]
    assert buried(outputs) == [(Reason.TIME_COLLISION, "flow")]
    assert device.totals.readings_duplicates == 1
    assert ledgers_add_up(device)


def test_with_seq_equal_times_are_two_readings():
    outputs = outputs_of(message(0, 1, flow=20.0), message(0, 2, flow=21.0))
    assert cleaned(outputs) == [{"flow": 20.0}, {"flow": 21.0}]


def test_a_collision_is_noticed_among_the_last_eight_times():
    device = pipeline()
    feed(device, *(message(second, flow=1.0) for second in range(9)))
    assert buried(feed(device, message(0, flow=2.0))) == []
    assert buried(feed(device, message(8, flow=2.0), message(2, flow=2.0))) == [(Reason.TIME_COLLISION, "flow")] * 2


def test_without_a_time_of_its_own_a_device_has_no_collisions():
    outputs = outputs_of(
        message(None, received=1, flow=1.0), message(None, received=1, flow=2.0),
        raw({"ts": 0, "flow": 3.0}, received=1), raw({"ts": 0, "flow": 4.0}, received=1),
    )  # fmt: skip
    assert len(cleaned(outputs)) == 4


# ------------------------------------------------------------------------------------------------------------- stuck


def stuck_at(outputs) -> list[int]:
    """Which messages, counted from 0, say that `flow` is stuck."""
    return [i for i, record in enumerate(only(topics.CLEAN, outputs)) if record.stuck]


def test_a_sensor_is_stuck_after_five_minutes_when_it_used_to_move():
    moving = [message(second, second, flow=float(second % 7)) for second in range(100)]
    standing = [message(second, second, flow=0.5) for second in range(100, 500)]
    outputs = outputs_of(*moving, *standing)
    assert stuck_at(outputs) == list(range(400, 500))
    assert only(topics.CLEAN, outputs)[400].stuck == ["flow"]


def test_a_sensor_that_moves_again_is_stuck_no_more():
    moving = [message(second, second, flow=float(second % 7)) for second in range(100)]
    standing = [message(second, second, flow=0.5) for second in range(100, 450)]
    outputs = outputs_of(*moving, *standing, message(450, 450, flow=0.6))
    assert stuck_at(outputs)[-1] == 449


def test_who_has_never_moved_much_is_a_constant_and_not_stuck():
    outputs = outputs_of(*(message(10 * i, i, flow=float(i < 19 and i % 2)) for i in range(300)))
    assert stuck_at(outputs) == []


def test_who_often_stands_for_long_is_stuck_only_after_five_times_as_long():
    values = [float(i // 10 % 2) for i in range(400)] + [0.5] * 200  # stands for 10 readings of 10 s, again and again
    outputs = outputs_of(*(message(10 * i, i, flow=value) for i, value in enumerate(values)))
    assert stuck_at(outputs)[0] == 445  # 450 s after it began to stand: five times 90 s


# ----------------------------------------------------------------------------------------------------------- budgets


def test_a_device_has_so_many_sensors_and_no_more():
    device = pipeline(sensors=2)
    outputs = feed(device, message(0, 1, a=1.0), message(1, 2, b=1.0, c=1.0), message(2, 3, a=1.0, b=1.0, c=1.0))
    assert cleaned(outputs) == [{"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}]
    assert buried(outputs) == [(Reason.SENSOR_BUDGET, "c")] * 2


def test_a_refused_reading_uses_up_no_budget():
    device = pipeline(sensors=1)
    outputs = feed(device, message(0, 1, **{"no name": 1.0}), message(1, 2, high=1e300), message(2, 3, flow=1.0))
    assert cleaned(outputs) == [{"flow": 1.0}]


def test_late_readings_of_a_type_that_refuses_them_are_dead_letters():
    device = pipeline(accept_late=False)
    outputs = feed(device, message(4000, 1, flow=1.0), message(0, 2, received=4000, flow=1.0, gas=NAN))
    assert buried(outputs) == [(Reason.NOT_A_NUMBER, "gas"), (Reason.LATE, "flow")]
    assert [letter.index for letter in only(topics.DEAD_LETTER, outputs)] == [1, 0]
    assert ledgers_add_up(device)


def test_what_cleaning_refuses_says_so():
    outputs = outputs_of(message(0, 1, a=1e300, b="x"))
    assert [letter.stage for letter in only(topics.DEAD_LETTER, outputs)] == [Stage.DECODE, Stage.CLEAN]


# ------------------------------------------------------------------------------------------------------------ hostile


class Name(str):
    """A sensor's name that counts how often it is compared or hashed."""

    __slots__ = ()
    looked_at = 0

    def __lt__(self, other):
        Name.looked_at += 1
        return str.__lt__(self, other)

    def __eq__(self, other):
        Name.looked_at += 1
        return str.__eq__(self, other)

    def __hash__(self):
        Name.looked_at += 1
        return str.__hash__(self)


def test_the_price_of_bad_readings_grows_with_their_number_not_with_its_square(monkeypatch):
    class Decoder:
        def decode(self, payload: bytes) -> list[Element]:
            names = [Name(f"bad {i}") for i in range(int(payload))]
            return [
                Element(None, None, dict.fromkeys(names[::2], 1.0), len(names), odd=dict.fromkeys(names[1::2], "x"))
            ]

    monkeypatch.setitem(DECODERS, "json", Decoder())

    def looks(readings: int) -> int:
        before = Name.looked_at
        assert len(outputs_of(raw(b"%d" % readings))) == readings
        return Name.looked_at - before

    assert looks(3000) < 20 * looks(300)


def test_a_long_message_stands_in_the_first_of_its_dead_letters_only():
    readings = {f"bad {i}": i for i in range(1000)}
    letters = only(topics.DEAD_LETTER, outputs_of(raw({"values": readings})))
    assert [len(letter.payload) > 0 for letter in letters] == [True] + [False] * 999
    assert {letter.size for letter in letters} == {len(letters[0].payload)}
    short = only(topics.DEAD_LETTER, outputs_of(raw({"values": {"bad 1": 1, "bad 2": 2}})))
    assert [letter.payload for letter in short] == [b'{"values":{"bad 1":1,"bad 2":2}}'] * 2


entries = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "no name", ""]),
    st.none() | st.booleans() | st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=3),
    max_size=6,
)


@examples(120)
@given(st.lists(st.tuples(st.integers(0, 5000), st.none() | st.integers(0, 9), entries), max_size=12), st.booleans())
def test_every_entry_is_stored_buried_a_duplicate_or_null(messages, accept_late):
    device = pipeline(
        sensors=3, accept_late=accept_late, types_of_sensors={"a": SensorType(boolean=True, high=10, max_rate_per_s=1)}
    )
    outputs = device.process(log(message(second, seq, received=5000, **values) for second, seq, values in messages))
    assert ledgers_add_up(device)
    assert len(buried(outputs)) == sum(device.totals.dead_readings.values()) + sum(device.totals.dead_messages.values())
    assert sum(map(len, cleaned(outputs))) == device.totals.readings_stored
    ids = [letter.id for letter in only(topics.DEAD_LETTER, outputs)]
    assert len(ids) == len(set(ids))
