"""The real bridge before the production Mosquitto: how it gets in, and what it says when it does not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bridge_process import BridgeProcess, read_raw, wait_until
from secured_mosquitto import LONG_AGO, Authorities, Client, SecuredMosquitto

from schemas import raw
from services.runtime.settings import KafkaSettings

pytestmark = pytest.mark.slow

DEVICE = "acme/berlin/pump-7"
NEIGHBOUR = "globex/paris/pump-7"
SECRET = "hunter2-of-mine"
FAILED = "weir_bridge_failed_connections_total"


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka, topic_prefix=f"secure{uuid.uuid4().hex[:8]}.")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SecuredMosquitto]:
    authorities = Authorities(tmp_path / "authorities")
    authorities.server("127.0.0.1")
    authorities.device(DEVICE)
    running = SecuredMosquitto(tmp_path, authorities)
    for name in (DEVICE, NEIGHBOUR, "weir-bridge"):
        running.set_password(name, SECRET)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def bridges(tmp_path: Path, settings: KafkaSettings) -> Iterator[Callable[..., BridgeProcess]]:
    made: list[BridgeProcess] = []

    def make(port: int, **options: object) -> BridgeProcess:
        told = {"WEIR_MQTT__TLS": "true", "WEIR_BRIDGE__CLIENT_ID": "weir-bridge", "WEIR_LOG__LEVEL": "DEBUG"}
        told |= {f"WEIR_MQTT__{name.upper()}": str(value) for name, value in options.items()}
        made.append(BridgeProcess(tmp_path, ("127.0.0.1", port), settings, **told))
        return made[-1]

    yield make
    for one in made:
        one.close()


def by_password(broker: SecuredMosquitto, folder: Path) -> dict[str, object]:
    (folder / "password").write_text(SECRET)
    return {
        "port": broker.by_password,
        "ca_file": broker.authorities.weir,
        "username": "weir-bridge",
        "password_file": folder / "password",
    }


def by_certificate(broker: SecuredMosquitto, _folder: Path) -> dict[str, object]:
    identity = broker.authorities.service("weir-bridge")
    return {
        "port": broker.for_services,
        "ca_file": broker.authorities.weir,
        "cert_file": identity.certificate,
        "key_file": identity.key,
    }


def device(broker: SecuredMosquitto, name: str = DEVICE) -> Client:
    return Client(broker.by_password, broker.authorities.weir, password=(name, SECRET))


@pytest.mark.parametrize("way", [by_password, by_certificate])
def test_what_devices_say_with_their_own_credentials_reaches_raw_and_what_they_forge_does_not(
    way, bridges, broker, settings, tmp_path
):
    bridge = bridges(**way(broker, tmp_path)).ready()
    telemetry = f"weir/v1/{DEVICE}/telemetry"
    with_certificate = Client(
        broker.by_certificate, broker.authorities.weir, identity=broker.authorities.device(DEVICE)
    )
    assert with_certificate.publish(telemetry, b"by certificate") == "Success"
    assert with_certificate.publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"forged") == "Not authorized"
    with_certificate.leave()
    with_password = device(broker)
    assert with_password.publish(telemetry, b"by password") == "Success"
    assert with_password.publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"forged") == "Not authorized"
    assert device(broker, NEIGHBOUR).publish(f"weir/v1/{NEIGHBOUR}/telemetry", b"last") == "Success"

    records = read_raw(settings, [b"by certificate", b"by password", b"last"])

    assert {(record.value, record.headers[raw.MQTT_TOPIC]) for record in records} == {
        (b"by certificate", telemetry.encode()),
        (b"by password", telemetry.encode()),
        (b"last", f"weir/v1/{NEIGHBOUR}/telemetry".encode()),
    }
    assert bridge.terminate() == 0
    assert SECRET not in bridge.log()


WAYS_TO_FAIL: dict[str, tuple[Callable[[SecuredMosquitto, Path], dict[str, object]], str, str]] = {
    "unknown authority": (
        lambda b, f: by_password(b, f) | {"ca_file": b.authorities.devices},
        "tls",
        "WEIR_MQTT__CA_FILE",
    ),
    "wrong host name": (lambda b, f: by_password(b, f) | {"host": "localhost"}, "tls", "WEIR_MQTT__HOST"),
    "no TLS there": (lambda b, f: by_password(b, f) | {"port": b.plain}, "away", "WEIR_MQTT__TLS"),
    "no TLS here": (lambda b, f: by_password(b, f) | {"tls": "false"}, "away", "WEIR_MQTT__TLS"),
    "wrong password": (
        lambda b, f: by_password(b, f) | {"password_file": written(f / "wrong", SECRET + "x")},
        "credentials",
        "WEIR_MQTT__PASSWORD_FILE",
    ),
    "unknown user": (
        lambda b, f: by_password(b, f) | {"username": "weir-nobody"},
        "credentials",
        "WEIR_MQTT__USERNAME",
    ),
    "no certificate": (
        lambda b, f: by_certificate(b, f) | {"cert_file": "", "key_file": ""},
        "tls",
        "WEIR_MQTT__CERT_FILE",
    ),
    "a device's certificate": (
        lambda b, f: by_certificate(b, f) | identity_files(b.authorities.device(DEVICE)),
        "tls",
        "WEIR_MQTT__CERT_FILE",
    ),
    "expired certificate": (
        lambda b, f: (
            by_certificate(b, f) | identity_files(b.authorities.sign("weir", "weir-bridge", "client", *LONG_AGO))
        ),
        "tls",
        "WEIR_MQTT__CERT_FILE",
    ),
}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def identity_files(identity) -> dict[str, object]:
    return {"cert_file": identity.certificate, "key_file": identity.key}


@pytest.mark.parametrize("case", WAYS_TO_FAIL)
def test_what_keeps_the_bridge_out_is_said_once_with_the_fix_and_tried_again(case, bridges, broker, tmp_path):
    options, trouble, fix = WAYS_TO_FAIL[case]
    told = {name: value for name, value in options(broker, tmp_path).items() if value != ""}
    bridge = bridges(**told).start()

    wait_until(lambda: bridge.metric(FAILED, f'{{reason="{trouble}"}}') >= 2, "it tries again and again")
    status, answer = bridge.get("/readyz")
    assert status == 503
    assert fix in answer, answer
    assert bridge.get("/healthz")[0] == 200
    log = bridge.log()
    # A broker that hangs up is seen now as the alert that it sent before, now as a broken connection: each said once.
    assert max(log.count("mqtt_refused"), log.count("mqtt_unavailable")) == 1, log
    assert fix in log
    assert SECRET not in log + answer


def test_an_expired_certificate_of_the_broker_is_not_trusted(bridges, broker, tmp_path):
    told = by_password(broker, tmp_path)
    expired = broker.authorities.sign("weir", "weir broker", "server", *LONG_AGO)
    for made, used in ((expired.certificate, "server.crt"), (expired.key, "server.key")):
        made.replace(broker.authorities.folder / used)
    broker.stop()
    broker.start()
    bridge = bridges(**told).start()
    wait_until(lambda: "certificate has expired" in bridge.log(), "the expired certificate is refused")
    assert "renew the broker" in bridge.log()


def test_a_rotated_password_and_a_rotated_certificate_are_taken_up_without_a_restart(bridges, broker, tmp_path):
    told = by_password(broker, tmp_path)
    bridge = bridges(**told).ready()
    broker.set_password("weir-bridge", "another")
    broker.reload()
    wait_until(lambda: bridge.metric(FAILED, '{reason="credentials"}') >= 1, "the old password is refused")
    (tmp_path / "password").write_text("another")
    wait_until(lambda: bridge.get("/readyz")[0] == 200, "the new password is taken")

    told = by_certificate(broker, tmp_path)
    other = bridges(**told).ready()
    broker.authorities.revoke("weir-bridge")
    broker.stop()
    broker.start()
    wait_until(lambda: other.metric(FAILED, '{reason="tls"}') >= 1, "the revoked certificate is refused")
    broker.authorities.service("weir-bridge")
    wait_until(lambda: other.get("/readyz")[0] == 200, "the new certificate is taken")
