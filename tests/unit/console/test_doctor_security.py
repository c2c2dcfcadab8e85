"""What `weir doctor` says of ways in that stand open, or that others can read along."""

import pytest
from pydantic import SecretStr

from services.console import checks, doctor, kafka_checks, mqtt_checks
from services.console.checks import Verdict
from services.runtime.settings import InfluxSettings, KafkaSettings, MqttSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_loopback_is_known_in_every_form(host):
    assert checks.is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "broker.example", "localhost.example", "", "0.0.0.0", "127.example"])
def test_all_else_is_a_network(host):
    assert not checks.is_loopback(host)


def mqtt_warnings(told, *, takes_strangers):
    found = mqtt_checks.check_access(told, takes_strangers=takes_strangers)
    return {c.name: c.fix for c in found if c.verdict is Verdict.WARNING}


def test_a_broker_that_takes_strangers_is_warned_of_with_the_fix():
    far = mqtt_warnings(MqttSettings(host="broker.example", tls=True), takes_strangers=True)
    assert list(far) == ["MQTT access"]
    assert "allow_anonymous false" in far["MQTT access"]
    assert "fine for trying" in mqtt_warnings(MqttSettings(), takes_strangers=True)["MQTT access"]


def test_clear_text_to_a_broker_elsewhere_is_warned_of_and_on_loopback_is_not():
    elsewhere = MqttSettings(host="broker.example", username="weir-tools")
    assert list(mqtt_warnings(elsewhere, takes_strangers=False)) == ["MQTT transport"]
    assert mqtt_warnings(MqttSettings(host="broker.example", tls=True), takes_strangers=False) == {}
    assert mqtt_warnings(MqttSettings(username="weir-tools"), takes_strangers=False) == {}


@pytest.mark.parametrize(
    ("bootstrap", "protocol", "warned"),
    [
        ("127.0.0.1:9092", "PLAINTEXT", False),
        ("localhost:9092,[::1]:9093", "PLAINTEXT", False),
        ("127.0.0.1:9092,kafka.example:9092", "PLAINTEXT", True),
        ("kafka.example:9092", "SASL_PLAINTEXT", True),
        ("kafka.example:9092", "SASL_SSL", False),
        ("kafka.example:9092", "SSL", False),
    ],
)
def test_kafka_in_clear_text_over_a_network_is_warned_of(bootstrap, protocol, warned):
    told = KafkaSettings(bootstrap=bootstrap, security_protocol=protocol)
    found = list(kafka_checks.check_transport(told))
    assert [c.verdict for c in found] == [Verdict.WARNING] * warned
    assert all("SASL_SSL" in c.fix for c in found)


@pytest.mark.parametrize(
    ("url", "token", "warned"),
    [
        ("http://127.0.0.1:8086", None, []),
        ("http://db.example:8086", None, ["InfluxDB transport", "InfluxDB access"]),
        ("http://db.example:8086", "t0ken", ["InfluxDB transport"]),
        ("https://db.example:8086", None, ["InfluxDB access"]),
        ("https://db.example:8086", "t0ken", []),
    ],
)
def test_influxdb_in_clear_text_or_without_a_token_is_warned_of(url, token, warned):
    told = InfluxSettings(url=url, token=None if token is None else SecretStr(token))
    found = list(doctor.check_influx_transport(told))
    assert [c.name for c in found] == warned
    assert "t0ken" not in repr(found)
