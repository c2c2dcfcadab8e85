"""One Kafka node that lets in SASL_SSL (SCRAM, PLAIN) on one port, and client certificates on another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bridge_process import free_port
from secured_mosquitto import Authorities

from deploy.local.ports import Ports
from deploy.local.readiness import kafka_probe, wait_ready
from deploy.local.servers import Installation, render_configuration, server_programs

USER = "weir"
PASSWORD = "kafka-p4ss/word+of=mine"
START_S = 120.0
_CLUSTER_ID = "weirSecurityTests00000"
_JAAS = "org.apache.kafka.common.security"


class SecuredKafka:
    """Certificates are those of `authorities`; the plain listener is the broker's own."""

    def __init__(self, folder: Path, authorities: Authorities) -> None:
        ports = Ports.free()
        sasl, mutual = free_port(), free_port()
        self.sasl, self.mutual = f"127.0.0.1:{sasl}", f"127.0.0.1:{mutual}"
        server = authorities.server("127.0.0.1")
        store = folder / "broker.pem"
        store.write_text(server.key.read_text() + server.certificate.read_text())
        listeners = f"INTERNAL://127.0.0.1:{ports.kafka},SASL://{self.sasl},MUTUAL://{self.mutual}"
        security = f"""
listeners={listeners},CONTROLLER://127.0.0.1:{ports.kafka_controller}
advertised.listeners={listeners}
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL
inter.broker.listener.name=INTERNAL
ssl.keystore.type=PEM
ssl.keystore.location={store}
ssl.truststore.type=PEM
ssl.truststore.location={authorities.weir}
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config={_JAAS}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";
listener.name.mutual.ssl.client.auth=required
"""
        for path, content in render_configuration(folder, ports).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + (security if path.name == "server.properties" else ""))
        installation = Installation.find(1)
        program = server_programs(installation, folder, ports, 1)[0]
        self.authorities = authorities
        self._environment = {**os.environ, **program.environment}
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        storage = [*program.command[:-2], "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID]
        done = subprocess.run(
            [*storage, "-c", program.command[-1], "--add-scram", scram],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.log = folder / "kafka.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(program.command, env=self._environment, stdout=log, stderr=log)
        waiting = wait_ready({"kafka": kafka_probe(f"127.0.0.1:{ports.kafka}")}, START_S)
        assert not waiting, (waiting, self.log.read_text()[-3000:])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
