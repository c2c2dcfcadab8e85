"""Mosquitto under deploy/mosquitto/production.conf, certificates of its script, and clients that tell."""

from __future__ import annotations

import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from bridge_process import free_port
from paho.mqtt.enums import MQTTErrorCode

SOURCE = Path(__file__).parents[2] / "deploy/mosquitto"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authorities:
    """The folder that make_certificates.sh keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weir = folder / "weir-ca.crt"
        self.devices = folder / "devices-ca.crt"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(SOURCE / "make_certificates.sh"), str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def make(self, *arguments: str) -> Identity:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        certificate = Path(done.stdout.strip())
        return Identity(certificate, certificate.with_suffix(".key"))

    def server(self, *hosts: str) -> Identity:
        return self.make("server", *(hosts or ("127.0.0.1", "localhost")))

    def service(self, name: str) -> Identity:
        return self.make("service", name)

    def device(self, name: str) -> Identity:
        return self.make("device", name)

    def revoke(self, name: str) -> None:
        assert self.run("revoke", name).returncode == 0

    def sign(self, authority: str, name: str, section: str, *more: str) -> Identity:
        """Any name the authority's holder likes, as whoever stole its key could; `more` goes to `openssl ca`."""
        made = Identity(self.folder / f"signed-{authority}.crt", self.folder / f"signed-{authority}.key")
        request = self.folder / "signed.cnf"
        request.write_text(f"[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = {name}\n")
        extensions = self.folder / "signed-extensions.cnf"
        usage = "serverAuth\nsubjectAltName = IP:127.0.0.1" if section == "server" else "clientAuth"
        extensions.write_text(f"[{section}]\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = {usage}\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(made.key))
        csr = self.folder / "signed.csr"
        ca = ("-batch", "-notext", "-config", str(self.folder / "openssl.cnf"), "-name", authority)
        ca += ("-extfile", str(extensions), "-extensions", section, "-in", str(csr), "-out", str(made.certificate))
        for command in (
            ("req", "-new", "-config", str(request), *key, "-out", str(csr)),
            ("ca", *ca, *(more or ("-days", "2"))),
        ):
            done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return made


LONG_AGO = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")


class SecuredMosquitto:
    """The production configuration with its paths and ports moved to where a test may write."""

    def __init__(self, folder: Path, authorities: Authorities) -> None:
        self.authorities = authorities
        self.by_password, self.by_certificate, self.for_services = free_port(), free_port(), free_port()
        self.log = folder / "mosquitto.log"
        self.passwords = authorities.folder / "passwords"
        self.passwords.touch(mode=0o600)
        self._data = folder / "data"
        self._data.mkdir()
        text = (SOURCE / "production.conf").read_text()
        for port, moved in ((8883, self.by_password), (8884, self.by_certificate), (8885, self.for_services)):
            assert text.count(f"\nlistener {port}\n") == 1
            text = text.replace(f"\nlistener {port}\n", f"\nlistener {moved} 127.0.0.1\n")
        text = text.replace("/etc/weir-keys", str(authorities.folder)).replace("/etc/weir", str(SOURCE))
        self._configuration = folder / "mosquitto.conf"
        self.plain = free_port()
        """Without TLS, which production.conf has nowhere: for who tries TLS there."""
        text = text.replace("/mosquitto/data/", f"{self._data}/")
        self._configuration.write_text(f"{text}\nlistener {self.plain} 127.0.0.1\nuser root\n")
        self._process: subprocess.Popen[bytes] | None = None
        self._reloads = 0

    def start(self) -> SecuredMosquitto:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", str(self._configuration)], stdout=log, stderr=log
            )
        eventually(self._listens, "Mosquitto listens")
        return self

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            ssl.get_server_certificate(("127.0.0.1", self.by_password))
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """What whoever changed passwords, rights or revocation lists does; returns when it has taken effect."""
        self._reloads += 1
        marker = (f"reload-{self._reloads}", "marker")
        self.set_password(*marker)
        self._process.send_signal(signal.SIGHUP)
        eventually(
            lambda: Client(self.by_password, self.authorities.weir, password=marker).taken, "Mosquitto has reloaded"
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def set_password(self, name: str, password: str) -> None:
        subprocess.run(["mosquitto_passwd", "-b", str(self.passwords), name, password], check=True, capture_output=True)

    def remove_password(self, name: str) -> None:
        subprocess.run(["mosquitto_passwd", "-D", str(self.passwords), name], check=True, capture_output=True)


def eventually(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.02)


class Client:
    """One connection. `answer` is the CONNACK's reason; None where the broker refused the TLS handshake or hung up."""

    def __init__(
        self,
        port: int,
        trusted: Path | None,
        *,
        password: tuple[str, str] | None = None,
        identity: Identity | None = None,
        client_id: str = "",
        version: int = paho.MQTTv5,
        will: tuple[str, bytes] | None = None,
        clean: bool = True,
    ) -> None:
        self.answer: str | None = None
        self.received: list[tuple[str, bytes]] = []
        self._acks: dict[int, str] = {}
        session = {} if version == paho.MQTTv5 else {"clean_session": clean}
        made = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **session)
        made.on_connect, made.on_publish = self._on_connect, self._on_publish
        made.on_message = lambda _c, _d, message: self.received.append((message.topic, message.payload))
        if trusted is not None:
            context = ssl.create_default_context(cafile=str(trusted))
            if identity is not None:
                context.load_cert_chain(identity.certificate, identity.key)
            made.tls_set_context(context)
        if password is not None:
            made.username_pw_set(*password)
        if will is not None:
            made.will_set(will[0], will[1], qos=1)
        self._client = made
        self.gone = False
        try:
            made.connect("127.0.0.1", port, **({"clean_start": clean} if version == paho.MQTTv5 else {}))
        except OSError:
            self.gone = True
        end = time.monotonic() + DEADLINE_S
        while self.answer is None and not self.gone:
            assert time.monotonic() < end, "no CONNACK, and the connection stands"
            self.turn()

    @property
    def taken(self) -> bool:
        return self.answer == "Success"

    def turn(self, seconds: float = 0.05) -> None:
        if not self.gone and self._client.loop(seconds) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.gone = True

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}"
            self.turn()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str:
        """QoS 1; returns the PUBACK's reason, "Success" also where nobody subscribes."""
        mid = self._client.publish(topic, payload, qos=1, retain=retain).mid
        self.until(lambda: mid in self._acks or self.gone, "PUBACK")
        answer = self._acks.get(mid, "gone")
        return "Success" if answer == "No matching subscribers" else answer

    def subscribe(self, topic: str) -> None:
        done: list[Any] = []
        self._client.on_subscribe = lambda *_: done.append(1)
        self._client.subscribe(topic, qos=1)
        self.until(lambda: bool(done), "SUBACK")

    def vanish(self) -> None:
        """Without a DISCONNECT: the broker then sends the last will."""
        self._client.socket().close()
        self.gone = True

    def leave(self) -> None:
        self._client.disconnect()
        self.turn()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.answer = str(reason)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._acks[mid] = str(reason)
