"""What surrounds the pure core: the port that Faust serves, and what the worker says it waits for."""

import socket

import pytest

from services.runtime.errors import ConfigurationError, ExitCode
from services.runtime.health import Health
from services.runtime.log_writer import LogWriter
from services.runtime.process import exit_code_of
from services.runtime.settings import StreamSettings
from services.stream.app import make_app
from services.stream.kafka_log import KafkaLog


def test_a_port_that_is_taken_is_refused_with_the_setting_to_change(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        options = {"http_port": other.getsockname()[1], "data_dir": tmp_path}
        settings = StreamSettings(stream=options)
        with pytest.raises(ConfigurationError, match="WEIR_STREAM__HTTP_PORT"):
            make_app(settings)
        assert exit_code_of("stream", lambda: make_app(settings)) == ExitCode.CONFIGURATION == 78


class FullOnce:
    """confluent_kafka's Producer, whose queue is full when the first record comes."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refusals = 2

    def produce(self, topic, value, key, partition, on_delivery) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BufferError
        self.taken.append(value)

    def poll(self, seconds: float) -> int:
        return 0


def test_a_worker_that_waited_for_room_says_so_and_no_longer_once_there_was_some():
    health, said = Health(), []

    def still_waits() -> bool:
        said.append(health.waiting())
        return False

    log = KafkaLog(StreamSettings(), health, still_waits)
    producer = FullOnce()
    log._writer = LogWriter(producer, "")
    log.send("t", 0, b"k", b"v")
    assert producer.taken == [b"v"]
    assert said == [{"kafka": "records wait to be delivered"}] * 2
    assert health.waiting() == {}


def test_a_worker_that_waits_for_something_else_is_not_said_to_have_it_by_a_record_that_was_taken():
    health, producer = Health(), FullOnce()
    producer.refusals = 0
    log = KafkaLog(StreamSettings(), health, lambda: False)
    log._writer = LogWriter(producer, "")
    health.wait_for("kafka", "not reached yet")
    log.send("t", 0, b"k", b"v")
    assert health.waiting() == {"kafka": "not reached yet"}
