"""A device's dead letters, by what they bury."""

import base64
import json
from collections import Counter, defaultdict
from typing import Any

from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import Entry
from tests.faults.drill.told import KEPT_BYTES, seq_of
from tests.faults.drill.workload import SENSORS

Reading = tuple[int, str]
"""Sequence number and sensor, of one device."""


class Letters:
    """A device's dead letters, repeats dropped, by what they bury."""

    def __init__(self, device: str, letters: list[Entry], record: FleetRecord) -> None:
        self.all = letters
        self.poison: Counter[bytes] = Counter()
        """Payload of which nothing can be used -> its dead letters."""
        self.readings: dict[Reading, int] = defaultdict(int)
        self.whole_messages: set[int] = set()
        self.scores: set[int] = set()
        """Sequence numbers of scores that InfluxDB refused."""
        self.windows: set[tuple[str, int, int]] = set()
        """Windows that InfluxDB refused."""
        self.anomalies: set[str] = set()
        """Anomalies of which InfluxDB refused a step."""
        self.strange: list[str] = []
        """Dead letters of what this device never sent."""
        self._device = device
        self._sent = record.sent.get(device, {})
        self._poison = {payload[:KEPT_BYTES]: payload for payload in record.poison_sent.get(device, {})}
        for letter in letters:
            self._take(letter.fields)

    def twice(self) -> list[tuple[Reading, int]]:
        """Readings with more than one dead letter."""
        return [(reading, times) for reading, times in self.readings.items() if times > 1]

    def _take(self, letter: dict[str, Any]) -> None:
        payload = base64.b64decode(letter["payload"])
        sensor = letter.get("sensor")
        if letter["topic"] == "telemetry.scores":
            self.scores.add(json.loads(payload)["seq"])
        elif letter["topic"] == "telemetry.aggregates":
            window = json.loads(payload)
            self.windows.add((window["sensor"], window["width_us"], window["start_us"]))
        elif letter["topic"] == "telemetry.anomalies":
            self.anomalies.add(json.loads(payload)["anomaly"])
        elif letter["topic"] == "telemetry.clean":
            self._bury(json.loads(payload)["seq"], sensor)
        elif payload in self._poison:
            self.poison[self._poison[payload]] += 1
        elif letter["topic"] == "telemetry.raw":
            seq = seq_of(payload)
            if seq is None:
                self.strange.append(f"{self._device}: dead-lettered, but never sent: {payload[:60]!r}")
                return
            self._bury(seq, sensor)
            if sensor is None:
                self.whole_messages.add(seq)

    def _bury(self, seq: int, sensor: str | None) -> None:
        if seq not in self._sent:
            self.strange.append(f"{self._device} seq {seq}: dead-lettered, but never sent")
        for one in SENSORS if sensor is None else (sensor,):
            self.readings[seq, one] += 1
