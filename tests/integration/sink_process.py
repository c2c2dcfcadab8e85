"""The sink as a process of its own, and what it reads."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer
from influx import OwnInflux

from schemas import topics

DEADLINE_S = 90.0
_RUN = "from services.runtime import process; from services.sink.service import run; process.run('sink', run)"


def eventually(what: str, holds: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """What `holds` returns once it is true."""
    until = time.monotonic() + deadline_s
    while not (result := holds()):
        assert time.monotonic() < until, f"not within {deadline_s} s: {what}"
        time.sleep(0.1)
    return result


class SinkProcess:
    """One sink; `start` may be called again after `kill` or `leave`."""

    def __init__(
        self, kafka: str, influx: OwnInflux, prefix: str, http_port: int, log: Path, settings: Mapping[str, str] = {}
    ) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
            "WEIR_KAFKA__BOOTSTRAP": kafka,
            "WEIR_KAFKA__TOPIC_PREFIX": prefix,
            "WEIR_INFLUX__TIMEOUT_S": "5",
            "WEIR_SINK__SESSION_TIMEOUT_MS": "6000",
            "WEIR_SINK__GROUP": f"{prefix}sink",
            "WEIR_SINK__HTTP_PORT": str(http_port),
            **influx.settings,
            **settings,
        }
        self._url = f"http://127.0.0.1:{http_port}"
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SinkProcess":
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", _RUN], env=self._environment, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE_S)
            self.process = None

    def leave(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        self.process = None
        return code

    def log(self) -> str:
        return self._log.read_text()

    def ready(self) -> bool:
        return bool(self.readiness().get("ok"))

    def readiness(self) -> dict[str, Any]:
        """What /readyz says; nothing while the process does not answer."""
        try:
            with urllib.request.urlopen(f"{self._url}/readyz", timeout=5) as response:
                return msgspec.json.decode(response.read())
        except urllib.error.HTTPError as error:
            return msgspec.json.decode(error.read())
        except OSError:
            return {}

    def metric(self, line: str) -> float:
        """The value of the metric whose line begins with this, 0 where there is none."""
        try:
            with urllib.request.urlopen(f"{self._url}/metrics", timeout=5) as response:
                text = response.read().decode()
        except OSError:
            return 0.0
        return next((float(found.split()[-1]) for found in text.splitlines() if found.startswith(line)), 0.0)


def produce(kafka: str, prefix: str, topic: str, records: Iterable[Any]) -> None:
    """Put records on a topic, as the stream does: by key, placed by murmur2."""
    producer = Producer({"bootstrap.servers": kafka, "partitioner": topics.PARTITIONER, "linger.ms": 5, "log_level": 0})
    for record in records:
        value = record if isinstance(record, bytes) else msgspec.json.encode(record)
        key = f"{record.tenant}/{record.device}" if hasattr(record, "tenant") else "acme/pump-1"
        producer.produce(prefix + topic, key=key, value=value)
    assert producer.flush(DEADLINE_S) == 0
