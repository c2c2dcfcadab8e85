"""Nothing that Weir prints holds a secret: not in trouble, not at DEBUG, not in another spelling."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import told_secrets
from bridge_process import free_port
from secured_mosquitto import Authorities, SecuredMosquitto

pytestmark = pytest.mark.slow

TROUBLE = {
    "bridge": "mqtt_refused",
    "stream": "partition_assigned",
    "sink": "influxdb",
    "alerts": "mqtt_unavailable",
}


@pytest.fixture
def refusing_influx() -> Iterator[str]:
    """Answers 401 to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"code": "unauthorized", "message": "unauthorized access"}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def refusing_mosquitto(tmp_path: Path) -> Iterator[SecuredMosquitto]:
    authorities = Authorities(tmp_path / "authorities")
    authorities.server()
    authorities.device("acme/berlin/pump-7")
    running = SecuredMosquitto(tmp_path, authorities).start()
    yield running
    running.stop()


def test_every_form_of_a_secret_is_recognised():
    for name, secret in told_secrets.SECRETS.items():
        basic = base64.b64encode(f"weir:{secret}".encode()).decode()
        for text in (f"x{secret}y", f"Authorization: Basic {basic}", json.dumps({"a": secret})):
            assert name in told_secrets.leaks(text), text
    assert told_secrets.leaks("kafka mqtt influx S3cr") == {}


def test_services_that_are_refused_say_so_without_a_secret(
    kafka: str, refusing_mosquitto: SecuredMosquitto, refusing_influx: str, tmp_path: Path
):
    told = told_secrets.settings(tmp_path, influx=refusing_influx, hook=f"127.0.0.1:{free_port()}") | {
        "WEIR_KAFKA__BOOTSTRAP": kafka,
        "WEIR_KAFKA__TOPIC_PREFIX": f"secrets{uuid.uuid4().hex[:8]}.",
        "WEIR_MQTT__PORT": str(refusing_mosquitto.by_password),
        "WEIR_MQTT__TLS": "true",
        "WEIR_MQTT__CA_FILE": str(refusing_mosquitto.authorities.weir),
    }
    for service, form in (*((service, "text") for service in told_secrets.SERVICES), ("bridge", "json")):
        said = told_secrets.run(
            (service,),
            told | {"WEIR_LOG__FORMAT": form},
            tmp_path / f"{service}-{form}.log",
            lambda text, of=service: TROUBLE[of] in text,
        )
        assert TROUBLE[service] in said, said
        assert told_secrets.leaks(said) == {}, said
    for tool in told_secrets.TOOLS:
        said = told_secrets.run(tool, told, tmp_path / f"{tool[0]}.log", lambda _: False)
        assert said
        assert told_secrets.leaks(said) == {}, said


@pytest.mark.parametrize("wrong", ["WEIR_KAFKA__SASL_MECHANISM", "WEIR_INFLUX__TIMEOUT_S", "WEIR_NO_SUCH_SETTING"])
def test_settings_that_are_refused_are_named_without_a_secret(wrong: str, tmp_path: Path):
    told = told_secrets.settings(tmp_path, influx="127.0.0.1:1", hook="127.0.0.1:1")
    # A secret that was put into the wrong variable.
    said = told_secrets.run(("sink",), told | {wrong: told_secrets.SECRETS["kafka"]}, tmp_path / "log", lambda _: False)
    assert wrong in said
    assert told_secrets.leaks(said) == {}, said
