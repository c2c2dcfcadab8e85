"""The production Mosquitto: who gets in, and who may say what in whose name."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator

import paho.mqtt.client as paho
import pytest
from pydantic import SecretStr
from secured_mosquitto import LONG_AGO, Authorities, Client, SecuredMosquitto, eventually

from services.alerts.channels import Mqtt
from services.console import mqtt_checks
from services.runtime import mqtt as clients
from services.runtime.errors import ConfigurationError
from services.runtime.health import Health
from services.runtime.settings import MqttSettings
from services.simulator.options import ReplayOptions
from services.simulator.service import replay

pytestmark = pytest.mark.slow

DEVICE = "acme/berlin/pump-7"
NEIGHBOUR = "globex/paris/pump-7"
PASSWORD = "correct horse"
VERSIONS = pytest.mark.parametrize("version", [paho.MQTTv5, paho.MQTTv311], ids=["mqtt5", "mqtt311"])
BOTH_WAYS = pytest.mark.parametrize("way", ["password", "certificate"])
numbers = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredMosquitto]:
    authorities = Authorities(tmp_path_factory.mktemp("authorities"))
    authorities.server()
    authorities.device(DEVICE)
    running = SecuredMosquitto(tmp_path_factory.mktemp("mosquitto"), authorities)
    for name in (DEVICE, NEIGHBOUR, "weir-bridge"):
        running.set_password(name, PASSWORD)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def bridge(broker: SecuredMosquitto) -> Iterator[Client]:
    """Reads all that devices say, as the bridge's account."""
    identity = broker.authorities.service("weir-bridge")
    reader = Client(broker.for_services, broker.authorities.weir, identity=identity, client_id="weir-bridge")
    assert reader.taken
    reader.subscribe("weir/v1/#")
    yield reader
    reader.leave()


def by_password(broker: SecuredMosquitto, name: str = DEVICE, **more: object) -> Client:
    return Client(broker.by_password, broker.authorities.weir, password=(name, PASSWORD), **more)


def by_certificate(broker: SecuredMosquitto, name: str = DEVICE, **more: object) -> Client:
    identity = broker.authorities.device(name)
    return Client(broker.by_certificate, broker.authorities.weir, identity=identity, **more)


def device(broker: SecuredMosquitto, way: str, name: str = DEVICE, **more: object) -> Client:
    return (by_password if way == "password" else by_certificate)(broker, name, **more)


def delivered(broker: SecuredMosquitto, bridge: Client) -> list[tuple[str, bytes]]:
    """What came until now: a message of the neighbour's, sent last, comes last."""
    last = f"last-{next(numbers)}".encode()
    neighbour = by_password(broker, NEIGHBOUR)
    assert neighbour.publish(f"weir/v1/{NEIGHBOUR}/telemetry", last) == "Success"
    neighbour.leave()
    bridge.until(lambda: bool(bridge.received) and bridge.received[-1][1] == last, "the neighbour's message")
    return bridge.received[:-1]


@BOTH_WAYS
@VERSIONS
def test_a_device_is_heard_under_its_own_name(broker, bridge, way, version):
    speaking = device(broker, way, version=version)
    assert speaking.taken
    assert speaking.publish(f"weir/v1/{DEVICE}/telemetry", b"21.5") == "Success"
    assert speaking.publish(f"weir/v1/{DEVICE}/status", b"online") == "Success"
    speaking.leave()
    assert delivered(broker, bridge) == [
        (f"weir/v1/{DEVICE}/telemetry", b"21.5"),
        (f"weir/v1/{DEVICE}/status", b"online"),
    ]


@pytest.mark.parametrize(
    "topic",
    [
        "weir/v1/acme/berlin/pump-8/telemetry",
        "weir/v1/acme/paris/pump-7/telemetry",
        "weir/v1/globex/berlin/pump-7/telemetry",
        "weir/v1/globex/berlin/pump-7/status",
        "weir/v1/acme/berlin/pump-7/telemetry/more",
        "weir/v1/acme/berlin/pump-7/else",
        "weir/v1/acme/berlin/pump-7",
        "weir-out/v1/acme/berlin/pump-7/alarms",
        "$SYS/broker/uptime",
        "anything",
    ],
)
@BOTH_WAYS
@VERSIONS
def test_what_a_device_says_elsewhere_reaches_nobody(broker, bridge, topic, way, version):
    bridge.subscribe("#")
    speaking = device(broker, way, version=version)
    for retain in (False, True):
        answer = speaking.publish(topic, b"forged", retain=retain)
        # 3.1.1 has no word for it: the broker acknowledges, and drops.
        assert answer == ("Not authorized" if version == paho.MQTTv5 else "Success")
    speaking.leave()
    assert delivered(broker, bridge) == []


@BOTH_WAYS
def test_the_last_will_is_bound_to_its_device_too(broker, bridge, way):
    forged = device(broker, way, will=(f"weir/v1/{NEIGHBOUR}/status", b"forged"))
    own = device(broker, "password", NEIGHBOUR, will=(f"weir/v1/{NEIGHBOUR}/status", b"offline"))
    forged.vanish()
    own.vanish()
    bridge.until(lambda: bool(bridge.received), "the last will that is allowed")
    assert delivered(broker, bridge) == [(f"weir/v1/{NEIGHBOUR}/status", b"offline")]


@BOTH_WAYS
def test_a_device_reads_nothing_not_even_its_own(broker, way):
    listening = device(broker, way)
    for topic in ("#", "weir/v1/#", f"weir/v1/{DEVICE}/#", "weir-out/v1/#", "$share/weir/weir/v1/#", "$SYS/#"):
        listening.subscribe(topic)
    neighbour = by_password(broker, NEIGHBOUR)
    neighbour.publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"secret", retain=True)
    neighbour.publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"", retain=True)
    neighbour.leave()
    listening.publish(f"weir/v1/{DEVICE}/telemetry", b"own")
    listening.turn(0.5)
    assert listening.received == []


@pytest.mark.parametrize("name", ["+/+/+", "#", "acme/berlin/+", "acme/#", "acme/berlin/pump-7/telemetry", "acme", ""])
def test_a_name_that_is_no_device_is_heard_by_nobody(broker, bridge, name):
    broker.set_password(name or "x", PASSWORD)
    broker.reload()
    speaking = by_password(broker, name or "x")
    for topic in (f"weir/v1/{DEVICE}/telemetry", f"weir/v1/{name}/telemetry".replace("+", "a").replace("#", "a/a")):
        if speaking.taken:
            speaking.publish(topic, b"forged")
    assert [topic for topic, _ in delivered(broker, bridge) if topic.count("/") == 5] == []


@BOTH_WAYS
def test_a_device_can_not_take_a_service_s_session_by_its_client_id(broker, bridge, way):
    thief = device(broker, way, client_id="weir-bridge", clean=False)
    assert thief.taken
    assert thief.publish(f"weir/v1/{DEVICE}/telemetry", b"mine") == "Success"
    assert delivered(broker, bridge) == [(f"weir/v1/{DEVICE}/telemetry", b"mine")]
    assert not bridge.gone
    assert thief.received == []


@BOTH_WAYS
def test_a_device_can_not_end_another_device_s_connection_by_its_client_id(broker, way):
    victim = device(broker, "password", NEIGHBOUR)
    thief = device(broker, way, client_id=NEIGHBOUR)
    assert victim.publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"still here") == "Success"
    assert thief.publish(f"weir/v1/{DEVICE}/telemetry", b"me too") == "Success"


def test_a_certificate_of_the_devices_authority_does_not_open_the_services_listener(broker):
    forged = broker.authorities.sign("devices", "weir-bridge", "client")
    assert not Client(broker.for_services, broker.authorities.weir, identity=forged).taken


def test_the_services_certificates_do_not_open_the_devices_listener(broker):
    identity = broker.authorities.service("weir-bridge")
    assert not Client(broker.by_certificate, broker.authorities.weir, identity=identity).taken


def test_the_broker_s_own_certificate_is_no_identity(broker):
    server = broker.authorities.server()
    assert not Client(broker.for_services, broker.authorities.weir, identity=server).taken


def test_services_may_do_their_part_and_no_more(broker, bridge):
    authorities = broker.authorities
    alerts, tools, simulator = (
        Client(broker.for_services, authorities.weir, identity=authorities.service(name))
        for name in ("weir-alerts", "weir-tools", "weir-simulator")
    )
    alarm = "weir-out/v1/acme/berlin/pump-7/alarms"
    assert alerts.publish(alarm, b"raised") == "Success"
    assert simulator.publish("weir/v1/demo/hall/pump-1/telemetry", b"1") == "Success"
    for service, topic in (
        (alerts, f"weir/v1/{DEVICE}/telemetry"),
        (simulator, f"weir/v1/{DEVICE}/telemetry"),
        (simulator, alarm),
        (tools, f"weir/v1/{DEVICE}/telemetry"),
        (tools, alarm),
        (bridge, f"weir/v1/{DEVICE}/telemetry"),
        (bridge, alarm),
    ):
        assert service.publish(topic, b"forged") == "Not authorized"
    for service in (alerts, tools, simulator):
        service.subscribe("#")
    assert delivered(broker, bridge) == [("weir/v1/demo/hall/pump-1/telemetry", b"1")]
    for service in (alerts, tools, simulator):
        service.turn(0.2)
        assert service.received == []
    tools.subscribe("$SYS/broker/uptime")
    tools.until(lambda: bool(tools.received), "the health check's topic")


STRANGERS: dict[str, Callable[[SecuredMosquitto], Client]] = {
    "no name": lambda b: Client(b.by_password, b.authorities.weir),
    "unknown name": lambda b: Client(b.by_password, b.authorities.weir, password=("acme/berlin/x", PASSWORD)),
    "wrong password": lambda b: Client(b.by_password, b.authorities.weir, password=(DEVICE, "wrong")),
    "empty password": lambda b: Client(b.by_password, b.authorities.weir, password=(DEVICE, "")),
    "no certificate": lambda b: Client(b.by_certificate, b.authorities.weir, password=(DEVICE, PASSWORD)),
    "no certificate, as a service": lambda b: Client(
        b.for_services, b.authorities.weir, password=("weir-bridge", PASSWORD)
    ),
    "expired certificate": lambda b: Client(
        b.by_certificate, b.authorities.weir, identity=b.authorities.sign("devices", DEVICE, "client", *LONG_AGO)
    ),
    "plain text": lambda b: Client(b.by_password, None, password=(DEVICE, PASSWORD)),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_are_refused(broker, stranger):
    assert not STRANGERS[stranger](broker).taken


def test_another_authority_s_certificate_is_refused(broker, tmp_path):
    own = Authorities(tmp_path)
    own.device(DEVICE)
    assert not Client(broker.by_certificate, broker.authorities.weir, identity=own.device(DEVICE)).taken


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1"])
def test_old_tls_is_refused(broker, version):
    flag = {"TLSv1": "-tls1", "TLSv1.1": "-tls1_1"}[version]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.by_password}", flag, "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert b"Cipher is (NONE)" in done.stdout


def test_a_removed_password_ends_the_device_s_connection(broker):
    name = "acme/berlin/stolen"
    broker.set_password(name, PASSWORD)
    broker.reload()
    stolen = by_password(broker, name)
    assert stolen.taken

    broker.remove_password(name)
    broker.reload()

    stolen.until(lambda: stolen.gone, "the live connection ends")
    assert not by_password(broker, name).taken


def test_a_revoked_certificate_is_refused_and_a_new_one_is_taken(broker):
    name = "acme/berlin/revoked"
    identity = broker.authorities.device(name)
    first = Client(broker.by_certificate, broker.authorities.weir, identity=identity)
    assert first.taken
    broker.authorities.revoke(name)
    broker.reload()

    assert not Client(broker.by_certificate, broker.authorities.weir, identity=identity).taken
    # What stands, stands: docs/security.md says how to end it.
    assert first.publish(f"weir/v1/{name}/telemetry", b"still here") == "Success"
    assert by_certificate(broker, name).taken


def test_messages_wait_for_the_bridge_across_a_restart_of_the_broker(tmp_path):
    authorities = Authorities(tmp_path / "authorities")
    authorities.server()
    authorities.device(DEVICE)
    identity = authorities.service("weir-bridge")
    running = SecuredMosquitto(tmp_path, authorities)
    running.set_password(DEVICE, PASSWORD)
    running.start()
    try:
        session = {"identity": identity, "client_id": "weir-bridge", "version": paho.MQTTv311, "clean": False}
        away = Client(running.for_services, authorities.weir, **session)
        away.subscribe("weir/v1/#")
        away.vanish()
        by_password(running).publish(f"weir/v1/{DEVICE}/telemetry", b"before")
        running.stop()
        running.start()
        by_password(running).publish(f"weir/v1/{DEVICE}/telemetry", b"after")
        back = Client(running.for_services, authorities.weir, **session)
        back.until(lambda: len(back.received) >= 2, "what waited for the bridge")
        assert [payload for _, payload in back.received] == [b"before", b"after"]
    finally:
        running.stop()


def as_service(broker: SecuredMosquitto, name: str) -> MqttSettings:
    identity = broker.authorities.service(name)
    return MqttSettings(
        port=broker.for_services,
        tls=True,
        ca_file=broker.authorities.weir,
        cert_file=identity.certificate,
        key_file=identity.key,
    )


def test_the_simulator_speaks_for_the_devices_of_its_tenant(broker, bridge):
    options = ReplayOptions(tenant="demo", devices=2, messages=3, rate=0)
    summary = replay(options, as_service(broker, "weir-simulator"), lambda: False)
    assert (summary.messages, summary.acknowledged) == (6, 6)
    heard = [topic for topic, _ in delivered(broker, bridge)]
    assert sum(topic.startswith("weir/v1/demo/") and topic.endswith("/telemetry") for topic in heard) == 6


def test_the_simulator_says_that_it_may_not_speak_for_another_tenant(broker):
    options = ReplayOptions(tenant="acme", devices=1, messages=3, rate=0)
    with pytest.raises(ConfigurationError, match="Not authorized"):
        replay(options, as_service(broker, "weir-simulator"), lambda: False)


def test_the_alerts_channel_connects_by_certificate_and_says_what_keeps_it_out(broker):
    told = as_service(broker, "weir-alerts")
    stranger = told.model_copy(update={"ca_file": broker.authorities.devices})
    for settings, fix in ((told, None), (stranger, "WEIR_MQTT__CA_FILE")):
        health = Health()
        channel = Mqtt(clients.client(settings, client_id="weir-alerts-1"), health)
        channel.connect(settings.host, settings.port, settings.keepalive_s)
        try:
            eventually(lambda h=health: h.waiting().get("mqtt") != "not connected yet", "the broker's answer")
            assert fix is None or fix in health.waiting()["mqtt"]
            assert (fix is None) is ("mqtt" not in health.waiting())
        finally:
            channel.close()


def verdicts(told: MqttSettings) -> dict[str, str]:
    return {check.name: check.verdict.value for check in mqtt_checks.check_mqtt(told)}


def test_doctor_is_content_with_the_production_broker_and_says_what_keeps_it_out(broker):
    told = as_service(broker, "weir-tools")
    assert verdicts(told) == {"MQTT": "ok", "MQTT access": "ok"}
    by_name = told.model_copy(
        update={
            "port": broker.by_password,
            "username": DEVICE,
            "password": SecretStr("wrong"),
            "cert_file": None,
            "key_file": None,
        }
    )
    check, _ = mqtt_checks.check_mqtt(by_name)
    assert check.verdict.value == "failed"
    assert "WEIR_MQTT__PASSWORD" in check.found
    assert "wrong" not in check.found


def test_doctor_warns_of_a_broker_that_takes_strangers(mosquitto):
    host, port = mosquitto
    assert verdicts(MqttSettings(host=host, port=port)) == {"MQTT": "ok", "MQTT access": "warning"}


def test_the_script_gives_no_device_a_service_s_name_and_no_name_with_wildcards(tmp_path):
    authorities = Authorities(tmp_path)
    for name in ("weir-bridge", "acme/berlin", "acme/berlin/+", "#", "a/b/c/d", "a/b/c\nx", "a//c", "a/b/" + "c" * 65):
        assert authorities.run("device", name).returncode == 64
    for name in ("acme/berlin/pump-7", "weir-a/b", "weir-+", "bridge", "weir-x\nweir-bridge"):
        assert authorities.run("service", name).returncode == 64
    assert list(tmp_path.rglob("*.crt")) == []


def test_keys_are_their_owner_s_alone(tmp_path):
    authorities = Authorities(tmp_path)
    authorities.server()
    authorities.service("weir-bridge")
    authorities.device(DEVICE)
    keys = list(tmp_path.rglob("*.key"))
    assert len(keys) == 5
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
