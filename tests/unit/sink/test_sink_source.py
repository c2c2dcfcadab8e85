"""What the sink's source asks Kafka when it is asked for its lag: what may hold up the loop, and what may not."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from services.runtime import kafka
from services.runtime.settings import KafkaSettings
from services.sink.source import KafkaSource

UNKNOWN = -1001
"""Kafka's client on an offset that it has not heard of."""


class Record:
    """A record of partition 0 of topic `t`."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


class StandInConsumer:
    """Kafka's client with partitions 0 and 1 of `t`; keeps what goes to Kafka and is waited for in `questions`."""

    def __init__(self, on_commit) -> None:
        self.fetched = {0: (0, 100), 1: (0, 0)}
        self.true_bounds = {0: (0, 100), 1: (0, 0)}
        self.commits: dict[int, int] = {0: UNKNOWN, 1: UNKNOWN}
        self.questions: list[str] = []
        self.silent = False
        self._on_commit = on_commit

    def subscribe(self, topics, **callbacks) -> None:
        pass

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t", 0), TopicPartition("t", 1)]

    def consume(self, most: int, wait_s: float) -> list[Record]:
        return [Record(n) for n in range(40)]

    def poll(self, seconds: float) -> None:
        pass

    def pause(self, partitions) -> None:
        pass

    def commit(self, offsets, asynchronous: bool) -> None:
        self.commits |= {p.partition: p.offset for p in offsets}
        self._on_commit(None, offsets)

    def committed(self, partitions, timeout: float) -> list[TopicPartition]:
        self.questions.append("committed")
        if self.silent:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition("t", p.partition, self.commits[p.partition]) for p in partitions]

    def get_watermark_offsets(self, partition, timeout: float, cached: bool) -> tuple[int, int]:
        if cached:
            return self.fetched[partition.partition]
        self.questions.append("watermarks")
        return self.true_bounds[partition.partition]


@pytest.fixture
def source_and_consumer(monkeypatch: pytest.MonkeyPatch) -> tuple[KafkaSource, StandInConsumer]:
    made: list[StandInConsumer] = []

    def consumer(settings, *, on_commit, **more) -> StandInConsumer:
        made.append(StandInConsumer(on_commit))
        return made[0]

    monkeypatch.setattr(kafka, "consumer", consumer)
    source = KafkaSource(KafkaSettings(), ["t"], group="g", session_timeout_ms=6000, most_between_polls_ms=6000)
    return source, made[0]


def test_lag_is_what_lies_between_the_last_acknowledged_record_and_the_end(source_and_consumer):
    source, consumer = source_and_consumer
    consumer.commits[0] = 30
    assert source.lag() == {"t": 70}
    source.read(1000, 0.0)
    assert source.lag() == {"t": 70}
    source.acknowledge()
    assert source.lag() == {"t": 60}


def test_where_nothing_was_committed_lag_counts_from_the_first_record(source_and_consumer):
    source, consumer = source_and_consumer
    consumer.fetched[0] = (20, 100)
    assert source.lag() == {"t": 80}


def test_a_partition_that_was_not_fetched_yet_counts_when_it_is(source_and_consumer):
    source, consumer = source_and_consumer
    consumer.fetched[0] = (UNKNOWN, UNKNOWN)
    assert source.lag() == {"t": 0}
    consumer.fetched[0] = (20, 100)
    assert source.lag() == {"t": 80}


def test_while_it_reads_lag_never_waits_behind_a_fetch(source_and_consumer):
    """A question on the fetch's connection takes 0.5 s: 28 of them, of topics that had no record yet, took 14 s."""
    source, consumer = source_and_consumer
    for _ in range(3):
        source.read(1000, 0.0)
        source.lag()
    assert set(consumer.questions) == {"committed"}


def test_a_confirmed_commit_is_sign_enough_that_kafka_answers(source_and_consumer):
    source, consumer = source_and_consumer
    source.lag()
    source.read(1000, 0.0)
    source.acknowledge()
    consumer.questions.clear()
    source.lag()
    assert consumer.questions == []
    source.lag()
    assert consumer.questions == ["committed"]


def test_without_a_commit_a_kafka_that_is_away_shows(source_and_consumer):
    source, consumer = source_and_consumer
    source.lag()
    consumer.silent = True
    with pytest.raises(KafkaException):
        source.lag()


def test_while_it_waits_for_influxdb_lag_is_what_kafka_says_now(source_and_consumer):
    source, consumer = source_and_consumer
    source.lag()
    source.idle(0.0)
    consumer.true_bounds[0] = (0, 5000)
    assert source.lag() == {"t": 5000}
