"""`weir doctor` and `weir status`: what counts as wrong, and that the fix is named."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from confluent_kafka import TopicPartition
from typer.testing import CliRunner

from deploy.local.ports import Ports
from schemas import topics
from services.cli import app
from services.console import checks, doctor, kafka_checks, mqtt_checks
from services.console.groups import lag_by_topic
from services.console.influx import Influx
from services.runtime.errors import Unavailable
from services.runtime.settings import InfluxSettings, MqttSettings, known_names

ALL = [topic.name for topic in topics.ALL]
AS_MADE = {topic.name: topic.config() for topic in topics.ALL}
_STOP_S = 0.01
"""How often a server looks whether it is to end; its own half second, once a test, is most of this file's time."""


@pytest.fixture
def nothing_runs(monkeypatch, tmp_path):
    """No stack, and nothing at any address that is asked."""
    free = Ports.free()
    monkeypatch.setenv("LOCAL_RUN_DIR", str(tmp_path))
    for name in known_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEIR_KAFKA__BOOTSTRAP", f"127.0.0.1:{free.kafka}")
    monkeypatch.setenv("WEIR_MQTT__PORT", str(free.mqtt))
    monkeypatch.setenv("WEIR_INFLUX__URL", f"http://127.0.0.1:{free.influx}")
    for service in ("BRIDGE", "STREAM", "SINK", "ALERTS"):
        monkeypatch.setenv(f"WEIR_{service}__HTTP_PORT", str(free.kafka_controller))


def test_an_old_python_fails():
    assert doctor.check_python((3, 10)).verdict is checks.Verdict.FAILED
    assert doctor.check_python((3, 11)).verdict is checks.Verdict.OK


def test_topics_are_well_when_all_are_there_with_one_partition_count():
    assert kafka_checks.check_partitions(dict.fromkeys(ALL, 4)).verdict is checks.Verdict.OK


def test_missing_topics_and_unequal_counts_fail():
    without = dict.fromkeys(ALL[1:], 4)
    assert topics.RAW in kafka_checks.check_partitions(without).found
    unequal = kafka_checks.check_partitions(dict.fromkeys(ALL, 4) | {topics.CLEAN: 3})
    assert unequal.verdict is checks.Verdict.FAILED
    assert "telemetry.clean 3" in unequal.found


def test_retention_as_made_is_well_another_is_a_warning_and_no_compaction_fails():
    assert kafka_checks.check_retention(AS_MADE).verdict is checks.Verdict.OK
    shorter = AS_MADE | {topics.RAW: AS_MADE[topics.RAW] | {"retention.ms": "1000"}}
    assert kafka_checks.check_retention(shorter).verdict is checks.Verdict.WARNING
    lossy = AS_MADE | {topics.STREAM_STATE: {"cleanup.policy": "delete"}}
    assert kafka_checks.check_retention(lossy).verdict is checks.Verdict.FAILED


def test_a_failure_names_its_fix_and_spoils_the_whole():
    broken = checks.failed("Kafka", "no answer", "start it")
    assert checks.line_of(broken).plain == "✗ Kafka: no answer → start it"
    assert not checks.all_well([checks.ok("Python", "3.11"), broken])
    assert checks.all_well([checks.ok("Python", "3.11"), checks.warning("MQTT", "open", "close it")])


def test_a_broker_that_is_not_there_is_no_broker():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "no answer" in mqtt_checks.refusal(MqttSettings(port=taken.getsockname()[1]))


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self):
        status, body = (
            (404, b'{"error":"database not found"}') if b"telemetry_long" in self.path.encode() else (403, b"{}")
        )
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(204)
        self.send_header("X-Influxdb-Version", "9.9")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def refusing_influx():
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(_STOP_S,))
    thread.start()
    yield InfluxSettings(url=f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_missing_database_and_missing_rights_each_get_their_own_fix(refusing_influx):
    there, rights, missing = doctor.check_influx(refusing_influx)
    assert there.verdict is checks.Verdict.OK
    assert "WEIR_INFLUX__TOKEN" in rights.fix
    assert "CREATE DATABASE" in missing.fix


def test_an_absent_influxdb_says_where_it_was_looked_for():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="WEIR_INFLUX__URL"):
            Influx(InfluxSettings(url=url)).version()


def test_doctor_says_of_each_absent_thing_how_to_mend_it(nothing_runs):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    failures = [line for line in result.output.splitlines() if line.startswith("✗")]
    assert [line.split(":")[0].removeprefix("✗ ") for line in failures] == [
        "Kafka", "MQTT", "InfluxDB", "weir bridge", "weir stream", "weir sink", "weir alerts",
    ]  # fmt: skip
    assert all(" → " in line for line in failures)


def test_status_says_what_cannot_be_reached_and_exits_with_1(nothing_runs):
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert "WEIR_KAFKA__BOOTSTRAP" in result.output
    assert "bridge: nothing answers" in result.output
    assert "Traceback" not in result.output


def test_lag_is_counted_from_what_was_committed_and_from_the_beginning_where_nothing_was():
    there = {("raw", 0): (20, 100), ("raw", 1): (10, 50), ("other", 0): (0, 9)}
    committed = [TopicPartition("raw", 0, 90), TopicPartition("raw", 1, -1001)]
    assert lag_by_topic(committed, there) == {"raw": 10 + 40}


def test_what_retention_took_is_no_lag():
    assert lag_by_topic([TopicPartition("raw", 0, 5)], {("raw", 0): (80, 100)}) == {"raw": 20}


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["doctor"]])
def test_looking_around_prints_no_secret(nothing_runs, monkeypatch, command):
    monkeypatch.setenv("WEIR_INFLUX__URL", "http://weir:hunter2@127.0.0.1:1")
    monkeypatch.setenv("WEIR_INFLUX__TOKEN", "hunter2")
    monkeypatch.setenv("WEIR_MQTT__USERNAME", "weir")
    monkeypatch.setenv("WEIR_MQTT__PASSWORD", "hunter2")
    output = CliRunner().invoke(app, command).output
    assert "127.0.0.1:1" in output
    assert "hunter2" not in output


def test_the_configuration_is_checked_without_servers_down_to_the_parts_of_a_model(monkeypatch, tmp_path):
    for name in known_names():
        monkeypatch.delenv(name, raising=False)
    types = tmp_path / "types.yaml"
    monkeypatch.setenv("WEIR_STREAM__DEVICE_TYPES_FILE", str(types))
    types.write_text(
        "types: {pump: {model: {features: [level, lags], model: {name: loda, cuts: 9}}}}", encoding="utf-8"
    )
    result = CliRunner().invoke(app, ["config", "check"])
    assert result.exit_code == 0
    assert f"read from {types}" in result.stdout
    types.write_text("types: {pump: {model: {features: [level, lgas], model: loda}}}", encoding="utf-8")
    result = CliRunner().invoke(app, ["config", "check"])
    assert result.exit_code == 1
    assert f"{types}: type pump: model.features[1]: unknown feature 'lgas'; known: level, change" in result.stdout
    types.write_text("types: {pump: {sensors: {flow: {low: 9, high: 1}}}}", encoding="utf-8")
    assert "type pump: low (9.0) is above high" in CliRunner().invoke(app, ["config", "check"]).stdout
