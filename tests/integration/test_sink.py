"""The sink with the real Kafka and InfluxDB: what is on the topics is in the database, once, whatever is killed."""

import itertools
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from contract.sink_writer_contract import WriterContract
from influx import OwnInflux, count, influxql
from pydantic import SecretStr
from sink_process import SinkProcess, eventually, produce
from unit.sink.sink_records import aggregate, anomaly, clean, score

from deploy.local.databases import INFLUX_ORG, INFLUX_TOKEN
from deploy.local.ports import Ports
from deploy.local.servers import InfluxVersion
from deploy.local.stack import Stack
from schemas import topics
from schemas.anomaly import AnomalyPhase
from schemas.dead_letter import DeadLetter
from schemas.metrics import MetricPoint, ServiceMetrics
from schemas.reasons import Reason, Stage
from schemas.telemetry import Clean
from services.runtime.kafka import ensure_topics
from services.runtime.settings import InfluxSettings, KafkaSettings
from services.sink.lines import LineEncoder
from services.sink.outcomes import Verdict
from services.sink.writer import InfluxWriter

DAY_US = 86_400_000_000
PARTITIONS = 4


@pytest.fixture(scope="module")
def own_influxdb(influx_version: InfluxVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnInflux]:
    influx = OwnInflux(tmp_path_factory.mktemp("influx"), influx_version)
    influx.start()
    yield influx
    influx.kill()


@pytest.fixture
def prefix(kafka: str) -> str:
    """A test's own topics, which are there."""
    name = f"sink-{uuid.uuid4().hex[:8]}."
    ensure_topics(KafkaSettings(bootstrap=kafka, topic_prefix=name, partitions=PARTITIONS))
    return name


@pytest.fixture
def tenant() -> str:
    """A tenant of the test's own, since all tests share the databases."""
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def new_sink(kafka: str, own_influxdb: OwnInflux, prefix: str, tmp_path: Path) -> Iterator[Callable[..., SinkProcess]]:
    made: list[SinkProcess] = []

    def make(influx: OwnInflux = own_influxdb, **settings: str) -> SinkProcess:
        log = tmp_path / f"sink-{len(made)}.log"
        made.append(SinkProcess(kafka, influx, prefix, Ports.free().influx, log, settings))
        return made[-1]

    yield make
    for sink in made:
        sink.kill()


@pytest.fixture
def sink(new_sink: Callable[..., SinkProcess]) -> SinkProcess:
    return new_sink()


def writer_to(influx: OwnInflux) -> InfluxWriter:
    return InfluxWriter(InfluxSettings(url=influx.url, org=INFLUX_ORG, token=SecretStr(INFLUX_TOKEN)))


def now_us() -> int:
    return time.time_ns() // 1000


def messages(tenant: str, numbers: range, start_us: int) -> list[Clean]:
    """One message each ms, of eight devices in turn, two sensors each."""
    return [
        clean(
            id=f"{tenant}/{n}",
            tenant=tenant,
            device=f"pump-{n % 8}",
            event_us=start_us + n * 1000,
            values={"temperature": n + 0.25, "pressure": -n / 3},
        )
        for n in numbers
    ]


def stored(url: str, tenant: str) -> dict[tuple[str, str], dict[int, float]]:
    """(device, sensor) -> ns -> value, of all readings of a tenant."""
    series = influxql(url, f"SELECT value FROM readings WHERE tenant = '{tenant}' GROUP BY device, sensor")
    return {(s["tags"]["device"], s["tags"]["sensor"]): dict(s["values"]) for s in series}


def expected(records: list[Clean]) -> dict[tuple[str, str], dict[int, float]]:
    points: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        for sensor, value in record.values.items():
            points.setdefault((record.device, sensor), {})[record.event_us * 1000] = value
    return points


def acknowledged(kafka: str, prefix: str, topic: str) -> int:
    """How many records of a topic the sink's group has acknowledged."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"{prefix}sink"})
    partitions = [TopicPartition(prefix + topic, p) for p in range(PARTITIONS)]
    committed = consumer.committed(partitions, timeout=30)
    consumer.close()
    return sum(max(p.offset, 0) for p in committed)


def dead_letters(kafka: str, prefix: str, at_least: int) -> list[DeadLetter]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([prefix + topics.DEAD_LETTER])
    letters: list[DeadLetter] = []

    def read() -> bool:
        letters.extend(msgspec.json.decode(m.value(), type=DeadLetter) for m in consumer.consume(1000, 0.5))
        return len(letters) >= at_least

    eventually(f"{at_least} dead letters", read)
    consumer.close()
    return letters


def test_what_is_on_the_topics_is_in_influxdb_once(kafka, own_influxdb, prefix, tenant, sink):
    url, start = own_influxdb.url, now_us()
    readings = messages(tenant, range(3000), start)
    produce(kafka, prefix, topics.CLEAN, readings)
    produce(kafka, prefix, topics.CLEAN, readings[:500])  # as a stream repeats after a crash
    produce(kafka, prefix, topics.SCORES, [score(tenant=tenant, event_us=start, seq=n) for n in range(200)])
    windows = [(width, n) for width in (10, 60, 300) for n in range(30)]
    produce(
        kafka,
        prefix,
        topics.AGGREGATES,
        [aggregate(tenant=tenant, width_us=w * 1_000_000, start_us=start - n * w * 1_000_000) for w, n in windows],
    )
    produce(
        kafka,
        prefix,
        topics.ANOMALIES,
        [
            anomaly(tenant=tenant, opened_us=start),
            anomaly(tenant=tenant, opened_us=start, phase=AnomalyPhase.CLOSED, end_us=start + 5, peak=0.9),
        ],
    )
    points = [MetricPoint(tenant, "too_large", {"bridge_rejected_total": 2.0})]
    produce(
        kafka,
        prefix,
        topics.METRICS,
        [ServiceMetrics(id="m", service="bridge", instance="h:1", at_us=start, points=points)],
    )
    sink.start()
    eventually("all readings", lambda: count(url, "readings", "value", tenant) >= 6000)
    eventually("all scores", lambda: count(url, "scores", "score", tenant) >= 400)
    eventually("the anomaly", lambda: count(url, "anomalies", "end_us", tenant, "telemetry_long"))
    eventually("all windows", lambda: count(url, "aggregates_5m", "mean", tenant, "telemetry_long") >= 30)
    eventually("metrics", lambda: influxql(url, f"SELECT * FROM pipeline WHERE topic = '{tenant}'"))
    assert stored(url, tenant) == expected(readings)
    assert count(url, "scores", "expected_low", tenant) == 200
    assert count(url, "aggregates_10s", "p95", tenant) == 30
    assert count(url, "aggregates_1m", "count", tenant, "telemetry_long") == 30
    [opened] = influxql(url, f"SELECT * FROM anomalies WHERE tenant = '{tenant}'", "telemetry_long")
    row = dict(zip(opened["columns"], opened["values"][0], strict=True))
    assert (row["time"], row["open"], row["peak"], row["end_us"]) == (start * 1000, 0, 0.9, start + 5)
    [metric] = influxql(url, f"SELECT * FROM pipeline WHERE topic = '{tenant}'")
    written = {name: value for name, value in zip(metric["columns"], metric["values"][0], strict=True) if value}
    assert written.pop("time") // 1000 == start
    assert written == {"service": "bridge", "topic": tenant, "reason": "too_large", "bridge_rejected_total": 2}
    assert sink.leave() == 0
    assert acknowledged(kafka, prefix, topics.CLEAN) == 3500


def test_a_line_that_influxdb_refuses_goes_to_the_dead_letter_and_its_neighbours_in(
    kafka, own_influxdb, prefix, tenant, sink
):
    url = own_influxdb.url
    long_ago = now_us() - 9 * DAY_US  # a shard of its own, in which `value` becomes a text
    writer = writer_to(own_influxdb)
    assert (
        writer.write("telemetry", [b'readings,tenant=x value="text" %d' % (long_ago * 1000)]).verdict is Verdict.STORED
    )
    writer.close()
    readings = messages(tenant, range(200), now_us())
    guilty = msgspec.structs.replace(readings[77], event_us=long_ago, values={"temperature": 1.0})
    readings[77] = guilty
    produce(kafka, prefix, topics.CLEAN, [*readings, b'{"type":"clean.v1"}', b"{"])
    sink.start()
    letters = dead_letters(kafka, prefix, 3)
    eventually("the neighbours", lambda: count(url, "readings", "value", tenant) >= 398)
    assert stored(url, tenant) == expected([r for r in readings if r is not guilty])
    assert {(letter.reason, letter.stage) for letter in letters} == {(Reason.SINK_REFUSED, Stage.SINK)}
    [line] = [letter for letter in letters if letter.tenant == tenant]
    assert (line.device, line.sensor, line.index) == (guilty.device, "temperature", 0)
    assert "field type conflict" in line.detail
    assert line.payload == msgspec.json.encode(guilty)
    assert sorted(letter.payload for letter in letters if letter.tenant != tenant) == [b"{", b'{"type":"clean.v1"}']
    eventually("all acknowledged", lambda: acknowledged(kafka, prefix, topics.CLEAN) == 202)
    assert sink.metric('weir_sink_dead_letters_total{reason="sink_refused"}') == 3


def test_a_batch_with_hundreds_of_refused_lines_keeps_the_sink_in_its_group(
    kafka, own_influxdb, prefix, tenant, new_sink
):
    """One batch of 5,000 lines; finding its 500 guilty ones takes thousands of writes, longer than the session."""
    url, start = own_influxdb.url, now_us()
    long_ago = start - 12 * DAY_US  # a shard of its own, in which `value` becomes a text
    writer = writer_to(own_influxdb)
    writer.write("telemetry", [b'readings,tenant=x value="text" %d' % (long_ago * 1000)])
    writer.close()
    good = messages(tenant, range(2250), start)
    guilty = [
        msgspec.structs.replace(good[n], id=f"{tenant}/guilty/{n}", event_us=long_ago + n, values={"temperature": 1.0})
        for n in range(500)
    ]
    records = [
        record for n, fine in enumerate(good) for record in ([fine] if n % 4 or n >= 2000 else [fine, guilty[n // 4]])
    ]
    produce(kafka, prefix, topics.CLEAN, records)
    sink = new_sink(WEIR_SINK__BATCH_WAIT_S="3", WEIR_INFLUX__TIMEOUT_S="2").start()
    eventually("all acknowledged", lambda: acknowledged(kafka, prefix, topics.CLEAN) == len(records), 300)
    assert sink.metric('weir_sink_writes_total{reason="refused"}') > 2 * len(guilty)
    assert sink.metric("weir_sink_fetch_errors_total") == 0
    assert sink.leave() == 0
    assert sink.log().count("partitions_assigned") == 1
    letters = [letter.payload for letter in dead_letters(kafka, prefix, len(guilty))]
    assert sorted(letters) == sorted(map(msgspec.json.encode, guilty))
    assert stored(url, tenant) == expected(good)


def test_influxdb_killed_and_restarted_midway_loses_nothing(kafka, own_influxdb, prefix, tenant, sink):
    start = now_us()
    sink.start()
    records = messages(tenant, range(4000), start)
    produce(kafka, prefix, topics.CLEAN, records[:2000])
    eventually("the first readings", lambda: count(own_influxdb.url, "readings", "value", tenant))
    own_influxdb.kill()
    produce(kafka, prefix, topics.CLEAN, records[2000:])
    eventually("the sink notices", lambda: "influxdb" in sink.readiness().get("waiting_for", {}))
    topic = f'weir_sink_lag_messages{{topic="{prefix}{topics.CLEAN}"}}'
    eventually("lag shows it", lambda: sink.metric(topic) > 0)
    own_influxdb.start()
    eventually("all readings", lambda: count(own_influxdb.url, "readings", "value", tenant) >= 8000)
    assert stored(own_influxdb.url, tenant) == expected(records)
    eventually("all acknowledged", lambda: acknowledged(kafka, prefix, topics.CLEAN) == 4000)
    eventually("the sink is ready again", sink.ready)
    assert sink.log().count("influxdb_unavailable") == 1
    assert sink.log().count("influxdb_back") == 1


def test_the_sink_killed_again_and_again_loses_nothing(kafka, own_influxdb, prefix, tenant, sink):
    start = now_us()
    records: list[Clean] = []
    for round_ in range(4):
        sink.start()
        more = messages(tenant, range(round_ * 1500, (round_ + 1) * 1500), start)
        records += more
        produce(kafka, prefix, topics.CLEAN, more)
        before = len(records) - len(more)
        eventually(
            "some of it is stored",
            lambda before=before: count(own_influxdb.url, "readings", "value", tenant) > 2 * before,
        )
        sink.kill()
    assert acknowledged(kafka, prefix, topics.CLEAN) <= 6000
    sink.start()
    eventually("all readings", lambda: count(own_influxdb.url, "readings", "value", tenant) >= 12_000)
    assert stored(own_influxdb.url, tenant) == expected(records)
    eventually("all acknowledged", lambda: acknowledged(kafka, prefix, topics.CLEAN) == 6000)


def test_sinks_that_join_and_leave_share_the_work_and_lose_nothing(kafka, own_influxdb, prefix, tenant, new_sink):
    start = now_us()
    first, second = new_sink(), new_sink()
    numbers = itertools.count()
    records: list[Clean] = []

    def more() -> None:
        batch = messages(tenant, range(n := next(numbers) * 1000, n + 1000), start)
        records.extend(batch)
        produce(kafka, prefix, topics.CLEAN, batch)

    first.start()
    more()
    eventually("the first works", lambda: count(own_influxdb.url, "readings", "value", tenant))
    second.start()
    more()
    eventually("the second has its share", second.ready)
    more()
    own_influxdb.kill()  # so that the first has a batch in hand when its partitions move
    more()
    eventually("the first waits", lambda: "influxdb" in first.readiness().get("waiting_for", {}))
    second.kill()
    second.start()
    more()
    own_influxdb.start()
    assert first.leave() == 0
    more()
    eventually("all readings", lambda: count(own_influxdb.url, "readings", "value", tenant) >= 2 * len(records))
    assert stored(own_influxdb.url, tenant) == expected(records)
    eventually("all acknowledged", lambda: acknowledged(kafka, prefix, topics.CLEAN) == len(records))
    assert second.leave() == 0
    assert "Traceback" not in first.log() + second.log()


def test_the_sink_waits_for_an_influxdb_that_is_not_there_yet_and_says_why(
    kafka, own_influxdb, prefix, tenant, new_sink, tmp_path
):
    influx = OwnInflux(tmp_path / "late", own_influxdb.version)
    sink = new_sink(influx)
    records = messages(tenant, range(10), now_us())
    produce(kafka, prefix, topics.CLEAN, records)
    sink.start()

    def waiting():
        return sink.readiness().get("waiting_for", {}).get("influxdb", "")

    try:
        eventually("it says that nobody answers", lambda: "no answer" in waiting())
        influx.start(create_databases=False)
        # 1.8: the database is not found; 2: nobody has set it up, so nobody is authorized.
        eventually("it says what is wrong", lambda: re.search("HTTP 40[14]: ", waiting()))
        influx.create_databases()
        eventually("all readings", lambda: count(influx.url, "readings", "value", tenant) == 20)
        eventually("it is ready", sink.ready)
    finally:
        influx.kill()
    assert sink.leave() == 0


@pytest.fixture
def own_stack(influx_version: InfluxVersion, tmp_path: Path) -> Iterator[Stack]:
    """Servers that the test may kill."""
    stack = Stack(tmp_path / "stack", Ports.free(), influx_version=influx_version)
    stack.start(tied_to_caller=True)
    stack.wait_servers_ready(120)
    yield stack
    stack.stop()


def test_kafka_killed_and_away_for_a_while_loses_nothing_and_holds_nobody_up(
    own_stack: Stack, own_influxdb: OwnInflux, tenant: str, tmp_path: Path
):
    kafka, start = own_stack.kafka_bootstrap, now_us()
    ensure_topics(KafkaSettings(bootstrap=kafka, partitions=PARTITIONS))
    sink = SinkProcess(kafka, own_influxdb, "", Ports.free().influx, tmp_path / "sink.log").start()
    try:
        records = messages(tenant, range(6000), start)
        produce(kafka, "", topics.CLEAN, records[:2000])
        eventually("the sink works", lambda: count(own_influxdb.url, "readings", "value", tenant))
        eventually("it is ready", sink.ready)
        own_stack.stop_program("kafka")
        eventually("it says what it waits for", lambda: "kafka" in sink.readiness().get("waiting_for", {}))
        own_stack.start_program("kafka")
        produce(kafka, "", topics.CLEAN, records[2000:4000])
        eventually("all readings", lambda: count(own_influxdb.url, "readings", "value", tenant) == 8000)
        eventually("all acknowledged", lambda: acknowledged(kafka, "", topics.CLEAN) == 4000)
        eventually("it is ready again", sink.ready)
        own_stack.stop_program("kafka")
        eventually("it notices again", lambda: "kafka" in sink.readiness().get("waiting_for", {}))
        assert sink.leave() == 0
        own_stack.start_program("kafka")
        produce(kafka, "", topics.CLEAN, records[4000:])
        sink.start()
        eventually("the rest", lambda: count(own_influxdb.url, "readings", "value", tenant) == 12_000)
        assert stored(own_influxdb.url, tenant) == expected(records)
    finally:
        sink.kill()


class TestInfluxWriter(WriterContract):
    """The real database keeps the same promises as the fake."""

    @pytest.fixture
    def writer(self, own_influxdb: OwnInflux) -> Iterator[InfluxWriter]:
        writer = writer_to(own_influxdb)
        yield writer
        writer.close()

    @pytest.fixture
    def device(self) -> str:
        return f"d-{uuid.uuid4().hex[:8]}"

    @pytest.fixture
    def at_ns(self) -> int:
        return time.time_ns()

    @pytest.fixture
    def database(self, own_influxdb: OwnInflux):
        class Seen:
            def values(self, device: str) -> dict[tuple[str, int], float]:
                found: dict[tuple[str, int], float] = {}
                for field in ("value", "other"):
                    query = f"SELECT {field} FROM readings WHERE device = '{device}' AND sensor = 'temperature'"
                    for series in influxql(own_influxdb.url, query):
                        found |= {(field, at): value for at, value in series["values"]}
                return found

        return Seen()

    def test_names_and_texts_come_back_as_they_were(self, own_influxdb: OwnInflux, writer: InfluxWriter, device: str):
        odd = 'a,b=c d\\e"f µ€😀'
        start = now_us()
        assert writer.write(*LineEncoder().clean(clean(tenant=device, site=odd, event_us=start, values={odd: 1e22})))
        assert writer.write(*LineEncoder().anomaly(anomaly(tenant=device, opened_us=start, sentence=odd + "\n2")))
        [series] = influxql(own_influxdb.url, f"SELECT value FROM readings WHERE tenant = '{device}' GROUP BY *")
        assert (series["tags"]["site"], series["tags"]["sensor"]) == (odd, odd)
        assert series["values"] == [[start * 1000, 1e22]]
        query = f"SELECT sentence FROM anomalies WHERE tenant = '{device}'"
        [series] = influxql(own_influxdb.url, query, "telemetry_long")
        assert series["values"] == [[start * 1000, odd + "\n2"]]

    def test_numbers_of_any_size_come_back_as_they_were(self, own_influxdb, writer: InfluxWriter, device: str):
        start = now_us()
        numbers = [1e22, 1e-7, 5e-324, 1.7976931348623157e308, -0.1, 123456789012345680.0, 1 / 3]
        for n, number in enumerate(numbers):
            writer.write(*LineEncoder().clean(clean(tenant=device, event_us=start + n, values={"x": number})))
        [series] = influxql(own_influxdb.url, f"SELECT value FROM readings WHERE tenant = '{device}'")
        assert [value for _, value in series["values"]] == numbers
