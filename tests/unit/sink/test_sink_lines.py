"""How records become line protocol."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from line_protocol import Point, parse
from sink_records import AT_US, aggregate, anomaly, clean, gap, ledger, model_event, score

from schemas.anomaly import AnomalyPhase
from schemas.metrics import MetricPoint, ServiceMetrics
from schemas.model_event import ModelEventKind, Step
from schemas.reasons import Reason
from schemas.telemetry import GapPhase, SensorScore
from services.runtime.errors import Poison
from services.sink.lines import LineEncoder, Lines

DEVICE = {"tenant": "acme", "site": "berlin", "device": "pump-1"}
NS = AT_US * 1000

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)


def writable(tag: str) -> bool:
    """What InfluxDB can hold as a tag: not nothing, no control character, no backslash at the end."""
    return bool(tag) and not any(ord(c) < 32 or ord(c) == 127 for c in tag) and not tag.endswith("\\")


def points(lines: Lines) -> list[Point]:
    return [parse(line) for line in lines.lines]


def poisoned(encode: Callable[[], Lines]) -> Reason:
    with pytest.raises(Poison) as caught:
        encode()
    return caught.value.reason


@pytest.fixture
def encoder() -> LineEncoder:
    return LineEncoder()


def test_each_reading_is_one_point_at_its_event_time(encoder: LineEncoder):
    lines = encoder.clean(clean(values={"temperature": 21.5, "pressure": 3.0}))
    assert lines.bucket == "telemetry"
    assert points(lines) == [
        Point("readings", {**DEVICE, "sensor": "temperature"}, {"value": 21.5}, NS),
        Point("readings", {**DEVICE, "sensor": "pressure"}, {"value": 3.0}, NS),
    ]


def test_a_line_is_byte_for_byte_what_influxdb_documents(encoder: LineEncoder):
    assert encoder.clean(clean(values={"t": 2.0})).lines == [
        b"readings,tenant=acme,site=berlin,device=pump-1,sensor=t value=2.0 1700000000000000000"
    ]


def test_two_messages_with_the_same_time_and_another_seq_are_two_points(encoder: LineEncoder):
    first, second = (points(encoder.clean(clean(seq=seq)))[0] for seq in (4001, 4002))
    assert (first.time, second.time) == (NS + 1, NS + 2)


def test_a_reading_that_is_no_number_is_left_out_and_the_others_stay(encoder: LineEncoder):
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0}
    assert [p.tags["sensor"] for p in points(encoder.clean(clean(values=values)))] == ["d"]


def test_a_score_is_the_devices_own_point_and_one_for_each_sensor(encoder: LineEncoder):
    assert points(encoder.score(score(seq=7))) == [
        Point("scores", DEVICE, {"score": 0.25, "alarm_score": 0.125}, NS + 7),
        Point(
            "scores",
            {**DEVICE, "sensor": "temperature"},
            {"score": 0.5, "alarm_score": 0.25, "expected_low": 20.0, "expected_high": 23.0},
            NS + 7,
        ),
    ]


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (SensorScore(0.5, 0.25, None, None), {"score": 0.5, "alarm_score": 0.25}),
        (SensorScore(0.5, 0.25, 1.0, None), {"score": 0.5, "alarm_score": 0.25, "expected_low": 1.0}),
        (SensorScore(0.5, 0.25, -math.inf, math.inf), {"score": 0.5, "alarm_score": 0.25}),
        (SensorScore(math.nan, 0.25, None, 2.0), {"alarm_score": 0.25, "expected_high": 2.0}),
    ],
)
def test_fields_that_a_score_does_not_have_are_left_out(encoder: LineEncoder, part: SensorScore, fields: dict):
    assert points(encoder.score(score(sensors={"temperature": part})))[1].fields == fields


def test_a_line_without_a_field_is_no_line(encoder: LineEncoder):
    nothing = SensorScore(math.nan, math.nan, None, None)
    record = score(score=math.nan, alarm_score=math.nan, sensors={"temperature": nothing})
    assert encoder.score(record).lines == []
    assert encoder.clean(clean(values={"temperature": math.nan})).lines == []


@pytest.mark.parametrize(
    ("width_us", "bucket", "measurement"),
    [
        (10_000_000, "telemetry", "aggregates_10s"),
        (60_000_000, "telemetry_long", "aggregates_1m"),
        (300_000_000, "telemetry_long", "aggregates_5m"),
    ],
)
def test_a_window_is_a_point_at_its_start_in_the_bucket_of_its_width(
    encoder: LineEncoder, width_us: int, bucket: str, measurement: str
):
    lines = encoder.aggregate(aggregate(width_us=width_us))
    fields = {
        "count": 3.0,
        "mean": 2.0,
        "std": 1.0,
        "min": 1.0,
        "max": 3.0,
        "p50": 2.0,
        "p95": 3.0,
        "first": 1.0,
        "last": 3.0,
    }
    assert lines.bucket == bucket
    assert points(lines) == [Point(measurement, {**DEVICE, "sensor": "temperature"}, fields, NS)]


def test_a_window_of_unknown_width_is_refused(encoder: LineEncoder):
    assert poisoned(lambda: encoder.aggregate(aggregate(width_us=1))) is Reason.SINK_REFUSED


def test_the_closing_record_of_an_anomaly_overwrites_the_point_of_its_opening(encoder: LineEncoder):
    opened = points(encoder.anomaly(anomaly()))[0]
    closed = points(
        encoder.anomaly(anomaly(phase=AnomalyPhase.CLOSED, event_us=AT_US + 90, end_us=AT_US + 60, peak=0.9))
    )[0]
    assert opened == Point(
        "anomalies",
        DEVICE,
        {
            "open": 1.0,
            "peak": 0.75,
            "severity": "warning",
            "culprit": "temperature",
            "sentence": "temperature is 40.0, expected 20.0 to 23.0",
        },
        NS,
    )
    assert (closed.measurement, closed.tags, closed.time) == (opened.measurement, opened.tags, opened.time)
    assert (closed.fields["open"], closed.fields["end_us"], closed.fields["peak"]) == (0.0, AT_US + 60, 0.9)
    assert opened.fields.keys() <= closed.fields.keys(), "a field of the opening would show through"


def test_anomalies_are_kept_long(encoder: LineEncoder):
    assert encoder.anomaly(anomaly()).bucket == "telemetry_long"


def test_a_ledger_is_a_point_at_its_last_message_with_sums_over_the_reasons(encoder: LineEncoder):
    lines = encoder.ledger(ledger())
    assert lines.bucket == "telemetry"
    assert points(lines) == [
        Point(
            "ledger",
            DEVICE,
            {
                "received": 402.0,
                "decoded": 396.0,
                "redelivered": 3.0,
                "dead_messages": 2.0,
                "missing_messages": 1.0,
                "readings_decoded": 796.0,
                "readings_stored": 793.0,
                "readings_duplicates": 1.0,
                "dead_readings": 2.0,
                "missing_readings": 0.0,
            },
            NS,
        )
    ]


def test_the_ledger_of_what_has_no_device_can_be_written(encoder: LineEncoder):
    [point] = points(encoder.ledger(ledger(tenant="$", site="$3", device="$")))
    assert point.tags == {"tenant": "$", "site": "$3", "device": "$"}


def test_what_gaps_miss_adds_up_to_what_is_missing_still(encoder: LineEncoder):
    told = [
        gap(10, 14),
        gap(10, 14, GapPhase.WITHDRAWN),
        gap(10, 11),
        gap(13, 14),
        gap(1, 5_000_000, GapPhase.SEQ_JUMP),
    ]
    written = [points(encoder.gap(record))[0] for record in told]
    assert sum(point.fields.get("missing", 0.0) for point in written) == 4.0
    assert [point.fields.get("leapt") for point in written] == [None] * 4 + [5_000_000.0]
    assert {point.measurement for point in written} == {"gaps"}
    assert written[2].fields == {"missing": 2.0, "first_seq": 10.0, "last_seq": 11.0}
    assert len({point.time for point in written}) == len(told), "told at once, and each a point of its own"
    assert {point.time // 1_000_000 for point in written} == {NS // 1_000_000}
    assert encoder.gap(gap()).lines == LineEncoder().gap(gap()).lines


def metrics_of(instance: str, *given: MetricPoint) -> ServiceMetrics:
    return ServiceMetrics(id="x", service="bridge", instance=instance, at_us=AT_US, points=list(given))


def test_metrics_have_no_empty_tags(encoder: LineEncoder):
    lines = encoder.metrics(
        metrics_of(
            "host:1",
            MetricPoint("", "", {"bridge_up": 1.0, "bridge_odd": math.nan}),
            MetricPoint("telemetry.raw", "too_large", {"bridge_rejected_total": 2.0}),
            MetricPoint("", "", {"bridge_odd": math.inf}),
        )
    )
    assert lines.bucket == "telemetry"
    assert [(p.measurement, p.tags, p.fields) for p in points(lines)] == [
        ("pipeline", {"service": "bridge"}, {"bridge_up": 1.0}),
        (
            "pipeline",
            {"service": "bridge", "topic": "telemetry.raw", "reason": "too_large"},
            {"bridge_rejected_total": 2.0},
        ),
    ]


def test_a_process_is_a_tag_by_its_name_and_not_by_what_changes_when_it_starts_again(encoder: LineEncoder):
    point = MetricPoint("", "", {"x": 1.0})
    before, after = (
        points(encoder.metrics(ServiceMetrics("m", "stream", f"host:{pid}", AT_US, [point], "stream-2")))[0].tags
        for pid in (1, 2)
    )
    assert before == after == {"service": "stream", "instance": "stream-2"}


def test_two_processes_of_a_service_do_not_overwrite_each_other_within_a_microsecond(encoder: LineEncoder):
    point = MetricPoint("", "", {"x": 1.0})
    first, second = (points(encoder.metrics(metrics_of(i, point)))[0].time for i in ("host:1", "host:2"))
    assert first != second
    assert first // 1000 == second // 1000 == AT_US


@given(texts, texts, texts, st.dictionaries(texts, finite, max_size=3), st.integers(0, 10**16), st.integers(0, 10**9))
def test_every_reading_that_is_written_is_read_back_the_same(tenant, site, device, values, event_us, seq):
    record = clean(tenant=tenant, site=site, device=device, values=values, event_us=event_us, seq=seq)
    encoder = LineEncoder()
    if not all(writable(tag) for tag in (tenant, site, device, *values)):
        assert poisoned(lambda: encoder.clean(record)) is Reason.SINK_REFUSED
        return
    tags = {"tenant": tenant, "site": site, "device": device}
    assert points(encoder.clean(record)) == [
        Point("readings", {**tags, "sensor": sensor}, {"value": value}, event_us * 1000 + seq % 1000)
        for sensor, value in values.items()
    ]


@given(texts, texts, finite)
def test_every_text_that_is_written_is_read_back_the_same(culprit, sentence, peak):
    fields = points(LineEncoder().anomaly(anomaly(culprit=culprit, sentence=sentence, peak=peak)))[0].fields
    assert fields == {"open": 1.0, "peak": peak, "severity": "warning", "culprit": culprit, "sentence": sentence}


@given(texts, st.dictionaries(texts, finite, min_size=1, max_size=3))
def test_every_metric_that_is_written_is_read_back_the_same(topic, fields):
    record = metrics_of("host:1", MetricPoint(topic, "", fields))
    if not all(map(writable, fields)) or (topic and not writable(topic)):
        assert poisoned(lambda: LineEncoder().metrics(record)) is Reason.SINK_REFUSED
        return
    point = points(LineEncoder().metrics(record))[0]
    assert point.tags == {"service": "bridge"} | ({"topic": topic} if topic else {})
    assert point.fields == fields


def test_what_is_kept_of_the_series_is_bounded_and_changes_nothing():
    bounded, unbounded = LineEncoder(most_prefixes=3), LineEncoder()
    records = [clean(device=f"pump-{i % 5}", values={f"s{j}": 1.0 for j in range(i % 4)}) for i in range(40)]
    assert [bounded.clean(r) for r in records] == [unbounded.clean(r) for r in records]
    assert sum(map(len, bounded._prefixes.values())) <= 3


def test_a_model_event_is_a_point_of_its_own_with_what_is_known_of_it(encoder: LineEncoder):
    drift = model_event(
        id="d", kind=ModelEventKind.DRIFT, sensor="flow", step=Step.WATCH, statistic=73.5, threshold=72.0, by='an "x"'
    )
    lines = encoder.model_event(drift)
    assert lines.bucket == "telemetry_long"
    [point] = points(lines)
    assert point.tags == {**DEVICE, "sensor": "flow"}
    assert point.fields == {
        "kind": "drift",
        "step": "watch",
        "sentence": drift.sentence,
        "device_type": "generic",
        "by": 'an "x"',
        "statistic": 73.5,
        "threshold": 72.0,
    }
    assert 0 <= point.time - NS < 1000


def test_events_of_one_moment_stay_apart_and_a_repeat_is_the_same_point(encoder: LineEncoder):
    one, other = (encoder.model_event(model_event(id=name)).lines for name in ("a", "b"))
    assert points(Lines("x", one))[0].tags == DEVICE
    assert one != other
    assert encoder.model_event(model_event(id="a")).lines == one
