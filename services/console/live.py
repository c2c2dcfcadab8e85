"""Shows what flows, once a second, from the topics themselves; on a terminal as a table, else as a line every 5 s."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from deploy.local.errors import NotRunning
from deploy.local.stack import Stack
from deploy.local.supervision import ProgramState
from schemas import topics
from services.console.live_state import LiveState, labels_in
from services.console.live_table import Frame, draw, plain_line
from services.console.records import Reader
from services.runtime.clock import now_us
from services.runtime.errors import Unavailable
from services.runtime.settings import KafkaSettings

REFRESH_S: Final = 1.0
LINE_S: Final = 5.0
_AGAIN_S: Final = 0.5
FOLLOWED: Final = (topics.CLEAN, topics.SCORES, topics.ANOMALIES, topics.ALERT_EVENTS, topics.METRICS)
_MOST: Final = 20_000
"""Records between two pictures; what is beyond waits for the next one."""


class View:
    """The running stack as a picture."""

    def __init__(self, stack: Stack, kafka: KafkaSettings, note: str, labels: Path, deadline_s: float) -> None:
        """Looks for the topics' ends. Raises `Unavailable` where Kafka has not told them within `deadline_s`."""
        self._stack = stack
        self._note = note
        self._labels = labels
        self._labels_read = 0
        self._state = LiveState(since_us=now_us())
        self._reader = Reader(kafka)
        self._reader.follow({topic: self._end_of(topic, time.monotonic() + deadline_s) for topic in FOLLOWED})
        self._begun_s = time.monotonic()
        self._states: Mapping[str, ProgramState] = {}

    def _end_of(self, topic: str, deadline_s: float) -> dict[int, int]:
        """A machine on which everything has just started may be slow to answer."""
        while True:
            try:
                return self._reader.ends(topic)
            except Unavailable:
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(_AGAIN_S)

    def show(self) -> None:
        """Until the caller is interrupted, or somebody else stops the stack."""
        try:
            if sys.stdout.isatty():
                self._table()
            else:
                self._lines()
        except NotRunning:
            return
        finally:
            # The table vanishes with the terminal's second screen; what it came to stays to be read.
            self._write_line()

    def _table(self) -> None:
        console = Console()
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                width, height = console.size
                live.update(draw(self._state, self._frame(width, height)), refresh=True)
                self._look(REFRESH_S)

    def _lines(self) -> None:
        while True:
            self._look(LINE_S)
            self._write_line()

    def _write_line(self) -> None:
        sys.stdout.write(plain_line(self._state, self._states, time.strftime("%H:%M:%S")) + "\n")
        sys.stdout.flush()

    def _look(self, seconds: float) -> None:
        """Take in what flows for so long."""
        end = time.monotonic() + seconds
        taken = 0
        while (left := end - time.monotonic()) > 0:
            # Short waits: a signal is answered between them.
            entries = self._reader.take(1000, min(left, 0.2)) if taken < _MOST else []
            if not entries and taken >= _MOST:
                time.sleep(min(left, 0.2))
            taken += len(entries)
            now_s = time.monotonic()
            self._read_labels()
            for entry in entries:
                self._state.take(entry.record, now_s)
        self._states = self._stack.states()

    def _read_labels(self) -> None:
        if not self._labels.exists():
            return
        if self._labels.stat().st_size < self._labels_read:
            # The simulator was started again, and begins the file anew.
            self._labels_read = 0
        with self._labels.open("rb") as file:
            file.seek(self._labels_read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._labels_read += len(whole)
        for label in labels_in(whole.splitlines()):
            self._state.label(label)

    def _frame(self, width: int, height: int) -> Frame:
        host, port = self._stack.mqtt_address
        self._states = self._states or self._stack.states()
        return Frame(
            states=self._states,
            addresses=(
                ("MQTT", f"{host}:{port}", "mosquitto"),
                ("Kafka", self._stack.kafka_bootstrap, "kafka"),
                ("InfluxDB", self._stack.influx_url, "influxdb"),
            ),
            logs=str(self._stack.run_dir / "logs"),
            note=self._note,
            uptime_s=time.monotonic() - self._begun_s,
            now_s=time.monotonic(),
            width=width,
            height=height,
        )
