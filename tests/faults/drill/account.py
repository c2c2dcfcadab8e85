"""One device of a row: each of its messages, windows and alarms against what stands in Kafka and InfluxDB."""

from collections import Counter
from typing import Any, Final

from tests.faults.drill import alarms_oracle
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import AnomalyPoint, Entry, Evidence, distinct
from tests.faults.drill.letters import Letters, Reading
from tests.faults.drill.told import DeviceStory, time_ns
from tests.faults.drill.verdict import Verdict
from tests.faults.drill.windows_oracle import DeviceWindows, differences, windows_of
from tests.faults.drill.workload import SENSORS, Workload

SHOWN_WITHIN_US: Final = 12_000_000
"""A window that is due to be shown is in InfluxDB after this: it is looked for every 5 s."""


class Account:
    """One device against its evidence; findings go to the verdict."""

    def __init__(
        self,
        verdict: Verdict,
        workload: Workload,
        device_index: int,
        told: DeviceStory,
        record: FleetRecord,
        evidence: Evidence,
    ) -> None:
        self._verdict = verdict
        self._workload = workload
        self._index = device_index
        self._device = device = workload.device_id(device_index)
        self._story = told
        self._record = record
        self._evidence = evidence
        self._sent = record.sent.get(device, {})
        self._acknowledged = record.acknowledged.get(device, {})
        self._letters = Letters(device, self._distinct("dead_letters"), record)
        verdict.raw_repeats += told.repeats
        verdict.wrong += told.strange
        verdict.dead_letter_reasons.update(letter.fields["reason"] for letter in self._letters.all)
        verdict.wrong += self._letters.strange

    def judge(self, *, gaps_allowed: bool, now_us: int, idle_emit_s: float) -> None:
        """All of it."""
        windows = windows_of(message for message in self._story.told if message.seq not in self._letters.whole_messages)
        self.conservation(gaps_allowed=gaps_allowed)
        self.poison()
        self.derived_topics(windows)
        self.windows(windows, now_us, idle_emit_s)
        self.alarms(windows)

    def conservation(self, *, gaps_allowed: bool) -> None:
        """Each message is stored, dead-lettered or in a gap: one of these, and no more."""
        verdict, device, letters = self._verdict, self._device, self._letters
        verdict.acknowledged += len(self._acknowledged)
        stored = self._stored()
        missing_ranges = self._gaps()
        verdict.doubled += [f"{device} seq {seq} {sensor}: {n} dead letters" for (seq, sensor), n in letters.twice()]
        came = {message.seq for message in self._story.told}
        for seq in sorted(self._sent.keys() & (self._acknowledged.keys() | came)):
            readings = [(seq, sensor) for sensor in SENSORS]
            dead = [reading for reading in readings if reading in letters.readings]
            there = [reading for reading in readings if reading in stored]
            both = [sensor for _, sensor in readings if (seq, sensor) in dead and (seq, sensor) in there]
            verdict.doubled += [f"{device} seq {seq} {sensor}: stored and dead-lettered" for sensor in both]
            in_gap = any(first <= seq <= last for first, last in missing_ranges)
            if in_gap and (there or dead):
                verdict.wrong.append(f"{device} seq {seq}: in a gap record, and yet it came")
            gone = [sensor for _, sensor in readings if (seq, sensor) not in dead and (seq, sensor) not in there]
            counts = seq in self._acknowledged
            if not gone:
                verdict.dead_lettered += counts and bool(dead)
                verdict.stored += counts and not dead
            elif in_gap and gaps_allowed:
                verdict.in_gaps += counts
            else:
                why = "in a gap record, where nothing may be lost" if in_gap else "neither stored nor dead-lettered"
                verdict.lost.append(f"{device} seq {seq} ({', '.join(gone)}): {why}")

    def poison(self) -> None:
        """Each payload of which nothing can be used is one dead letter, or as many as were handed to the broker."""
        sent = self._record.poison_sent.get(self._device, {})
        acknowledged = self._record.poison_acknowledged.get(self._device, [])
        self._verdict.poison_acknowledged += len(acknowledged)
        for payload, times_sent in sent.items():
            times = self._letters.poison[payload]
            if times == 0 and (payload in acknowledged or payload in self._story.poison):
                self._verdict.lost.append(f"{self._device}: no dead letter of {payload[:60]!r}")
            elif times > times_sent:
                self._verdict.doubled.append(f"{self._device}: {times} dead letters of {payload[:60]!r}")

    def derived_topics(self, windows: DeviceWindows) -> None:
        """Every message that came is once on clean and once on scores, and its score is in InfluxDB."""
        dead = self._letters.whole_messages
        due = {m.seq for m in self._story.told} - dead
        self._each_once("clean", due)
        scores = self._each_once("scores", due - windows.late)
        points = self._evidence.score_points.get(self._device, {})
        for entry in scores:
            seq, at_us = entry.fields["seq"], entry.fields["event_us"]
            point = points.get(time_ns(at_us, seq))
            said = (entry.fields["score"], entry.fields["alarm_score"])
            if seq in self._letters.scores:
                continue
            if point is None:
                self._verdict.lost.append(f"{self._device} seq {seq}: its score is not in InfluxDB")
            elif point != said:
                self._verdict.wrong.append(f"{self._device} seq {seq}: its score is {said}, in InfluxDB {point}")

    def windows(self, windows: DeviceWindows, now_us: int, idle_emit_s: float) -> None:
        """Every window that is closed, or due to be shown, is right on the topic and in InfluxDB; there is no other."""
        verdict, device = self._verdict, self._device
        said = _by_window(self._distinct("aggregates"))
        points = {key[1:]: point for key, point in self._evidence.windows.items() if key[0] == device}
        silent_us = self._story.last_received_us + round(idle_emit_s * 1e6)
        expected = {
            (sensor, page.width_us, page.start_us): page for page in windows.pages.values() for sensor in SENSORS
        }
        for key in (said.keys() | points.keys()) - expected.keys():
            verdict.wrong.append(f"{device} window {key}: of nothing that came")
        for key, page in expected.items():
            if not page.is_closed and max(page.end_us, silent_us) + SHOWN_WITHIN_US > now_us:
                verdict.windows_open += 1
                continue
            verdict.windows += 1
            values = page.values(key[0])
            record = said.get(key)
            if record is None:
                verdict.lost.append(f"{device} window {key}: not on telemetry.aggregates")
            elif record["provisional"] == page.is_closed:
                state = "shown as open, though its time has passed" if page.is_closed else "closed before its time"
                verdict.wrong.append(f"{device} window {key}: {state}")
            else:
                self._compare(f"window {key} on telemetry.aggregates", values, record)
            if key in points:
                self._compare(f"window {key} in InfluxDB", values, points[key])
            elif key not in self._letters.windows:
                verdict.lost.append(f"{device} window {key}: not in InfluxDB")

    def alarms(self, windows: DeviceWindows) -> None:
        """Each alarm that the windows and anomalies ask for came once, and no other."""
        anomalies = [entry.fields for entry in self._distinct("anomalies")]
        self._verdict.add(alarms_oracle.judge_anomalies(self._device, anomalies))
        self._anomaly_points(anomalies)
        steps = [*alarms_oracle.level_steps(windows), *alarms_oracle.anomaly_steps(anomalies)]
        events = [entry.fields for entry in self._distinct("alarms")]
        self._verdict.add(alarms_oracle.judge_alarms(self._device, steps, events))

    # ----------------------------------------------------------------------------------------------------------- parts

    def _anomaly_points(self, anomalies: list[dict[str, Any]]) -> None:
        """InfluxDB holds the last step of each anomaly."""
        last = {anomaly["anomaly"]: anomaly for anomaly in anomalies}
        points = {key[1]: point for key, point in self._evidence.anomaly_points.items() if key[0] == self._device}
        for name, anomaly in last.items():
            point = points.pop(anomaly["opened_us"], None)
            said = AnomalyPoint(float(anomaly["phase"] != "closed"), anomaly["peak"], anomaly["severity"])
            if point is None and name not in self._letters.anomalies:
                self._verdict.lost.append(f"{self._device}: the anomaly {name} is not in InfluxDB")
            elif point != said and name not in self._letters.anomalies:
                self._verdict.wrong.append(f"{self._device}: the anomaly {name} is {said}, in InfluxDB {point}")
        for opened_us in points:
            self._verdict.wrong.append(f"{self._device}: InfluxDB has an anomaly at {opened_us} that is on no topic")

    def _distinct(self, name: str) -> list[Entry]:
        found = distinct(getattr(self._evidence, name).get(self._device, []))
        self._verdict.derived_repeats += found.repeats
        self._verdict.wrong += [f"{self._device}: repeats of {record} on {name} differ" for record in found.differing]
        return found.entries

    def _stored(self) -> set[Reading]:
        """What is right in `readings`; what is not is a finding."""
        came = {message.seq: message.event_us for message in self._story.told}
        seq_at = {time_ns(came.get(seq, ts_us), seq): seq for seq, ts_us in self._sent.items()}
        stored: set[Reading] = set()
        for sensor in SENSORS:
            stray: list[tuple[int, float]] = []
            for at_ns, value in self._evidence.readings.get((self._device, sensor), ()):
                seq = seq_at.get(at_ns)
                if seq is None:
                    stray.append((at_ns, value))
                    continue
                stored.add((seq, sensor))
                right = self._workload.values(self._index, seq)[sensor]
                if value != right:
                    self._verdict.wrong.append(
                        f"{self._device} seq {seq} {sensor}: stored as {value!r}, sent {right!r}"
                    )
            if stray:
                self._stray_points(sensor, stray)
        for device, sensor in self._evidence.readings:
            if device == self._device and sensor not in SENSORS:
                self._verdict.wrong.append(f"{device}: stored, but never sent: sensor {sensor!r}")
        return stored

    def _stray_points(self, sensor: str, stray: list[tuple[int, float]]) -> None:
        seq_of = {self._workload.values(self._index, seq)[sensor]: seq for seq in self._sent}
        for at_ns, value in stray:
            if value in seq_of:
                finding = f"{self._device} seq {seq_of[value]} {sensor}: stored once more, at {at_ns} ns"
                self._verdict.doubled.append(finding)
            else:
                finding = f"{self._device} {sensor}: stored, but never sent: {value!r} at {at_ns} ns"
                self._verdict.wrong.append(finding)

    def _gaps(self) -> list[tuple[int, int]]:
        """Ranges that are on record as missing, and were not withdrawn."""
        state: dict[tuple[int, int, int], str] = {}
        for entry in self._distinct("gaps"):
            gap = entry.fields
            if gap["epoch"] != 0 or gap["phase"] == "seq_jump":
                self._verdict.wrong.append(f"{self._device}: its counter is said to have leapt or begun anew: {gap}")
            state[gap["epoch"], gap["first_seq"], gap["last_seq"]] = gap["phase"]
        ranges = [(first, last) for (_, first, last), phase in state.items() if phase == "missing"]
        for first, last in ranges:
            if unknown := [seq for seq in range(first, min(last, first + 100_000) + 1) if seq not in self._sent]:
                self._verdict.wrong.append(f"{self._device}: gap {first}..{last} claims {unknown[:3]}, never sent")
        return ranges

    def _each_once(self, name: str, due: set[int]) -> list[Entry]:
        entries = self._distinct(name)
        times = Counter(entry.fields["seq"] for entry in entries)
        where = f"on telemetry.{name}"
        self._verdict.doubled += [f"{self._device} seq {seq}: {n} times {where}" for seq, n in times.items() if n > 1]
        self._verdict.lost += [f"{self._device} seq {seq}: not {where}" for seq in sorted(due - times.keys())]
        self._verdict.wrong += [f"{self._device} seq {seq}: {where}, but never came" for seq in times.keys() - due]
        return entries

    def _compare(self, what: str, values: list[tuple[int, float]], said: dict[str, Any]) -> None:
        for difference in differences(values, said):
            counted_twice = difference.startswith("count") and said["count"] > len(values)
            findings = self._verdict.doubled if counted_twice else self._verdict.wrong
            findings.append(f"{self._device} {what}: {difference}")


def _by_window(entries: list[Entry]) -> dict[tuple[str, int, int], dict[str, Any]]:
    """(sensor, width, start) -> the record that holds: the last revision, and what is closed before what is not."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for entry in entries:
        record = entry.fields
        key = (record["sensor"], record["width_us"], record["start_us"])
        known = found.get(key)
        if known is None or _rank(record) >= _rank(known):
            found[key] = record
    return found


def _rank(record: dict[str, Any]) -> tuple[bool, int, int]:
    return not record["provisional"], record["revision"], record["count"]
