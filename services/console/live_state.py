"""What the live table knows: devices, anomalies and alarms as they flowed past. Pure; times are arguments."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from schemas.alarm import AlarmEvent, AlarmPhase
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.metrics import ServiceMetrics
from schemas.telemetry import Clean, ModelState, Score
from services.console.judgement import TO_BE_FOUND, Judgement, judge
from services.console.pulse import Pulse
from services.simulator.labels import RECORDED, Label

MOST_DEVICES: Final = 5000
"""Beyond, the device that was met first is forgotten: what is shown must not grow with what devices invent."""
_EVENTS: Final = 50
_TRACE: Final = 60
_RATE_S: Final = 10.0
_REMEMBERED: Final = 1000
"""Labels and anomalies that are judged."""


class Device:
    """One device as its records show it."""

    __slots__ = (
        "_arrivals",
        "alarms",
        "anomaly",
        "key",
        "name",
        "progress",
        "score",
        "sensors",
        "site",
        "state",
        "tenant",
        "trace",
        "values",
    )

    def __init__(self, tenant: str, site: str, name: str) -> None:
        self.tenant, self.site, self.name = tenant, site, name
        self.key = f"{tenant}/{name}"
        self.values: dict[str, float] = {}
        self.sensors: dict[str, float] = {}
        """Sensor -> its latest score."""
        self.score = 0.0
        self.state = ModelState.LEARNING
        self.progress = 0.0
        self.trace: deque[float] = deque(maxlen=_TRACE)
        self.anomaly: Anomaly | None = None
        self.alarms: dict[str, AlarmEvent] = {}
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=2000)

    def arrived(self, at_s: float, readings: int) -> None:
        """Readings came."""
        self._arrivals.append((at_s, readings))

    def readings_per_second(self, now_s: float) -> float:
        """Over the last ten seconds, or since the first reading, if that is less."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] < now_s - _RATE_S:
            arrivals.popleft()
        if len(arrivals) < 2:
            return 0.0
        return sum(count for _, count in arrivals) / max(now_s - arrivals[0][0], 1.0)

    @property
    def urgency(self) -> tuple[float, ...]:
        """Sorts the worst first; coarse, so that rows keep their places while nothing happens."""
        peak = self.anomaly.peak if self.anomaly else 0.0
        return (-peak, -len(self.alarms), -round(max(self.score - 0.3, 0.0), 1))


class Event(msgspec.Struct, frozen=True):
    """One line of what happened. `mark` is the kind: opened, updated, closed, raised, cleared, fault."""

    at_us: int
    mark: str
    device: str
    text: str
    about: str = ""
    """The anomaly; its opening and its updates are one line, which says the latest."""


class LiveState:
    """Everything shown. Feed it records in the order in which they come.

    Known anomalies from before `since_us` (event time) are history, and not judged.
    """

    def __init__(self, since_us: int = 0) -> None:
        self._since_us = since_us
        self._newest_us = since_us
        self._labels: deque[Label] = deque(maxlen=_REMEMBERED)
        self._opened: deque[Anomaly] = deque(maxlen=_REMEMBERED)
        self.pulse = Pulse()
        self.devices: dict[str, Device] = {}
        self.events: deque[Event] = deque(maxlen=_EVENTS)
        self.readings = 0
        self.anomalies = 0
        self.alarms = 0

    def take(self, record: Any, at_s: float) -> None:
        """One record of a followed topic, at this moment (any clock in seconds that does not leap)."""
        match record:
            case Score():
                self._score(record)
            case Clean():
                self._clean(record, at_s)
            case Anomaly():
                self._anomaly(record)
            case AlarmEvent():
                self._alarm(record)
            case ServiceMetrics():
                self.pulse.add(record)

    def label(self, label: Label) -> None:
        """A fault that the simulator has begun, or a known anomaly of the recording that has passed."""
        self._labels.append(label)
        if label.kind == RECORDED:
            return
        size = "" if label.size is None else f" by {label.size:g}{'σ' if label.kind in TO_BE_FOUND else ' s'}"
        where = "" if label.sensor == "*" else f" of {label.sensor}"
        lasts = (label.to_us - label.from_us) / 1e6
        self._happened(
            Event(label.from_us, "fault", label.device, f"injected: {label.kind}{where}{size} for {lasts:.0f} s")
        )

    def worst_first(self) -> list[Device]:
        """Devices by urgency, then by name."""
        return sorted(self.devices.values(), key=lambda device: (device.urgency, device.key))

    def open_anomalies(self) -> int:
        """Anomalies that are open now."""
        return sum(device.anomaly is not None for device in self.devices.values())

    def active_alarms(self) -> int:
        """Alarms that are raised now."""
        return sum(len(device.alarms) for device in self.devices.values())

    def judgement(self) -> Judgement | None:
        """How well known anomalies were found; None where none is known."""
        return (
            judge(self._labels, self._opened, self._since_us, self._newest_us)
            if any(label.from_us >= self._since_us for label in self._labels)
            else None
        )

    def _device(self, tenant: str, site: str, name: str) -> Device:
        key = f"{tenant}/{name}"
        device = self.devices.get(key)
        if device is None:
            if len(self.devices) >= MOST_DEVICES:
                del self.devices[next(iter(self.devices))]
            device = self.devices[key] = Device(tenant, site, name)
        return device

    def _clean(self, record: Clean, at_s: float) -> None:
        device = self._device(record.tenant, record.site, record.device)
        device.values |= record.values
        device.arrived(at_s, len(record.values))
        self.readings += len(record.values)

    def _score(self, record: Score) -> None:
        device = self._device(record.tenant, record.site, record.device)
        device.score, device.state, device.progress = record.score, record.state, record.progress
        device.sensors = {sensor: part.score for sensor, part in record.sensors.items()}
        device.trace.append(record.score)
        self._newest_us = max(self._newest_us, record.event_us)

    def _anomaly(self, record: Anomaly) -> None:
        device = self._device(record.tenant, record.site, record.device)
        device.anomaly = None if record.phase is AnomalyPhase.CLOSED else record
        text = record.sentence.replace(f" at {record.device}", "", 1)
        if record.phase is AnomalyPhase.UPDATED and self._retell(record.anomaly, text):
            return
        if record.phase is AnomalyPhase.OPENED:
            self.anomalies += 1
            self._opened.append(record)
            text = self._explained(record) + text
        elif record.phase is AnomalyPhase.CLOSED:
            seconds = ((record.end_us or record.event_us) - record.opened_us) / 1e6
            text = f"as usual again; {seconds:.0f} s over the line, peak {record.peak:.2f}"
        self._happened(Event(record.event_us, str(record.phase), record.device, text, record.anomaly))

    def _retell(self, anomaly: str, text: str) -> bool:
        """Say the latest of an anomaly whose opening is still shown."""
        for place, event in enumerate(self.events):
            if event.about == anomaly:
                found, bracket, _ = event.text.rpartition("] ")
                self.events[place] = msgspec.structs.replace(event, text=found + bracket + text)
                return True
        return False

    def _explained(self, opened: Anomaly) -> str:
        for label in reversed(self._labels):
            if (label.tenant, label.device) == (opened.tenant, opened.device) and label.kind in TO_BE_FOUND:
                after_s = (opened.opened_us - label.from_us) / 1e6
                if after_s >= 0 and opened.opened_us <= label.to_us:
                    return f"[{label.kind} found after {after_s:.0f} s] "
        return ""

    def _alarm(self, record: AlarmEvent) -> None:
        device = self._device(record.tenant, record.site, record.device)
        if record.phase is AlarmPhase.RAISED:
            device.alarms[record.alarm] = record
            self.alarms += 1
        else:
            device.alarms.pop(record.alarm, None)
        text = f"alarm {record.phase}: {record.rule}"
        self._happened(Event(record.at_us, str(record.phase), record.device, text))

    def _happened(self, event: Event) -> None:
        self.events.append(event)


def labels_in(lines: Iterable[bytes]) -> list[Label]:
    """Labels of a labels file; a line that is still being written is left out."""
    labels = []
    for line in lines:
        try:
            labels.append(msgspec.json.decode(line, type=Label))
        except msgspec.DecodeError:
            continue
    return labels
