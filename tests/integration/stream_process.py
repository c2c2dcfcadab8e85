"""`weir stream`, and other commands, as processes on topics of their own; and what they left in Kafka."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from sink_process import DEADLINE_S, eventually

from schemas import topics
from services.runtime import kafka as clients
from services.runtime.settings import KafkaSettings

PARTITIONS = 4


class StreamProcess:
    """`weir stream` on topics of its own."""

    def __init__(self, settings: KafkaSettings, folder: Path) -> None:
        self._settings = settings
        self.group = f"{settings.topic_prefix}stream"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
            "WEIR_KAFKA__BOOTSTRAP": settings.bootstrap,
            "WEIR_KAFKA__TOPIC_PREFIX": settings.topic_prefix,
            "WEIR_STREAM__GROUP": self.group,
            "WEIR_STREAM__CHECKPOINT_S": "0.5",
            "WEIR_STREAM__SESSION_TIMEOUT_MS": "6000",
            "WEIR_STREAM__HTTP_PORT": "0",
            "LOCAL_RUN_DIR": str(folder / "nothing-runs"),
            "WEIR_STREAM__DATA_DIR": str(folder / "faust"),
            "WEIR_STREAM__DEVICES_PER_TENANT": "5",
            "WEIR_STREAM__SENSORS_PER_DEVICE": "4",
        }
        self._log = folder / "stream.log"

    def start(self, *options: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "services.cli", "stream", *options]
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def command(self, *arguments: str, code: int = 0) -> str:
        """`weir ...` on the same topics: what it prints; fails where it ends with another exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, f"weir {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def log(self) -> str:
        return self._log.read_text()

    def work_off(self, messages: int) -> None:
        """Run until everything is committed."""
        process = self.start()
        try:
            eventually("all is committed", lambda: sum(committed(self._settings, self.group)) == messages)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(DEADLINE_S)
        assert code == 0


def committed(settings: KafkaSettings, group: str) -> list[int]:
    reader = clients.consumer(settings, group=group)
    places = [TopicPartition(settings.topic_prefix + topics.RAW, p) for p in range(PARTITIONS)]
    try:
        return [max(0, at.offset) for at in reader.committed(places, timeout=10)]
    except KafkaException:
        return []  # a new group's coordinator is not there yet
    finally:
        reader.close()


def records_of(settings: KafkaSettings, topic: str) -> list:
    return list(clients.read_to_end(settings, topic, range(PARTITIONS)))
