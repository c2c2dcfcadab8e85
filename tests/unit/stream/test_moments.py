"""The log of moments: read as it was written, in a snapshot too, whatever sensors tell of which moment."""

from hypothesis import given
from hypothesis import strategies as st
from stream_builders import examples

from services.stream.moments import (
    Moment,
    by_sensor,
    following,
    heads,
    moment_at,
    pack_moments,
    put_moment,
    unpack_moments,
)

values = st.floats(-1e100, 1e100) | st.integers(-999, 999).map(lambda tenths: tenths / 10)
in_order = st.lists(values, min_size=1, max_size=4).map(lambda told: (None, tuple(told)))
numbered = st.tuples(st.integers(0, 1000), values)
in_any_order = st.lists(numbered, min_size=1, max_size=4, unique_by=lambda one: one[0]).map(
    lambda told: (tuple(number for number, _ in told), tuple(value for _, value in told))
)
moments = st.lists(
    st.builds(
        lambda widths, event_us, told: (widths, Moment(event_us, *told)),
        st.sampled_from([7, 7, 7, 6, 4]),
        st.integers(0, 2**53),
        in_order | in_any_order,
    ),
    max_size=30,
)


def written(told) -> bytearray:
    log = bytearray()
    for widths, moment in told:
        put_moment(log, widths, moment)
    return log


@examples(200)
@given(moments)
def test_moments_are_read_as_they_were_written(told):
    log = written(told)
    found = heads(log)
    assert [(head.widths, moment_at(log, head.at)) for head in found] == told
    assert [head.event_us for head in found] == [moment.event_us for _, moment in told]
    assert [following(log, head.at) for head in found] == [*(head.at for head in found[1:]), len(log)][: len(found)]


@examples(300)
@given(moments)
def test_a_log_that_was_packed_for_a_snapshot_is_the_same_log(told):
    assert unpack_moments(pack_moments(written(told))) == (written(told), len(told))


def test_regular_moments_take_few_bytes_in_a_snapshot():
    told = [(7, Moment(1_792_584_000_000_000 + 1_000_000 * n, None, (20.5 + n / 10, 3.0))) for n in range(60)]
    assert len(pack_moments(written(told))) < 100 < len(written(told))


def test_sensors_come_in_the_order_in_which_they_first_spoke():
    told = [Moment(1, (2,), (1.0,)), Moment(2, None, (2.0, 3.0)), Moment(3, (1, 2), (4.0, 5.0))]
    log = written((7, moment) for moment in told)
    assert list(by_sensor(log, heads(log)).items()) == [
        (2, ([1, 3], [1.0, 5.0])),
        (0, ([2], [2.0])),
        (1, ([2, 3], [3.0, 4.0])),
    ]
