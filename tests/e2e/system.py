"""The running system as its users reach it: by the servers' own protocols, not by code of Weir's."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from deploy.local.stack import Stack

FAULT_AT_S = 25.0
FAULT_S = 20.0
DURATION_S = 110.0
SERVICES = ("bridge", "stream", "sink", "alerts")


def eventually(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The condition's first true value; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {within_s:.0f} s: {what}")


class Webhook:
    """A web server that remembers what was posted to it, and when."""

    def __init__(self) -> None:
        posted = self.posted = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted.append((time.time(), self.headers["Idempotency-Key"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alarms"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Weir:
    """The running system, as its users reach it."""

    stack: Stack
    webhook: Webhook
    http_ports: dict[str, int]
    device_types: Path
    """Read by the stream when it starts."""

    def command(self, *arguments: str, code: int = 0) -> str:
        """`weir ...` on this system: what it prints; fails where it ends with another exit code."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WEIR_", "LOCAL_"))}
        environment |= self.stack.environment() | {
            "LOCAL_RUN_DIR": str(self.stack.run_dir),
            "WEIR_STREAM__DEVICE_TYPES_FILE": str(self.device_types),
        }
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, f"weir {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def http(self, service: str, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.http_ports[service]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, service: str, name: str) -> float:
        """Sum of a metric's samples, over its labels; -1 where the service does not answer."""
        status, text = self.http(service, "/metrics")
        if status != 200:
            return -1.0
        lines = [line for line in text.splitlines() if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def sink_is_done(self) -> bool:
        """Whether the sink has stored all results; the services' own metrics never end, and do not count."""
        lines = self.http("sink", "/metrics")[1].splitlines()
        lags = [line for line in lines if line.startswith('weir_sink_lag_messages{topic="telemetry.')]
        return bool(lags) and all(float(line.rsplit(" ", 1)[1]) == 0 for line in lags)

    def influx(self, query: str, database: str = "telemetry") -> list[dict[str, Any]]:
        """InfluxQL over HTTP; each row as a dict of tags and columns."""
        asked = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"})
        request = urllib.request.Request(f"{self.stack.influx_url}/query?{asked}")
        if self.stack.influx_version == 2:
            request.add_header("Authorization", "Token weir-local-token")
        with urllib.request.urlopen(request, timeout=60) as answer:
            results = json.load(answer)["results"]
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for result in results
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def records(self, topic: str) -> list[dict[str, Any]]:
        """All of a topic that is there now, decoded, repeats dropped by `id`."""
        consumer = Consumer(
            {"bootstrap.servers": self.stack.kafka_bootstrap, "group.id": "e2e", "enable.auto.commit": False}
        )
        parts = [TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=30).topics[topic].partitions]
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=30) for p in parts}
        parts = [TopicPartition(topic, p, low) for p, (low, high) in ends.items() if high > low]
        found: dict[str, dict[str, Any]] = {}
        consumer.assign(parts)
        left = {p.partition for p in parts}
        while left:
            for message in consumer.consume(5000, 1.0):
                if message.error() is None:
                    record = json.loads(message.value())
                    found[record["id"]] = record
            left = {p for p in left if consumer.position([TopicPartition(topic, p)])[0].offset < ends[p][1]}
        consumer.close()
        return list(found.values())

    def all_ready(self) -> bool:
        return all(self.http(service, "/readyz")[0] == 200 for service in SERVICES)
