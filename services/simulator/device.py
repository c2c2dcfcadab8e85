"""One simulated device: its messages in the order in which it publishes them. Pure; time is an argument."""

import heapq
from collections import deque
from itertools import count

from services.simulator.fault_schedule import FaultSchedule
from services.simulator.faults import OF_SENSORS, Onset, inject, sigma
from services.simulator.fleet import DevicePlan
from services.simulator.labels import RECORDED, Label
from services.simulator.message import Message, Publication
from services.simulator.pacing import Pacing
from services.simulator.recordings import RecordedAnomaly
from services.simulator.signal import Signal

UPLOAD = 50
"""Messages in one array, when a device uploads what it has stored."""
RECENT = 1000
"""Readings that tell a fault how large a sigma is: enough to hold the swing of some days of the demo."""


class Device:
    """Ask `due_us`, and when that has come `take`. Readings before `history` are stored ones, uploaded in arrays.

    `limit` is the number of readings, stored ones included (None: without end). `labels` grows with what is anomalous;
    its reader empties it.
    """

    def __init__(
        self, plan: DevicePlan, pacing: Pacing, faults: FaultSchedule, *, history: int = 0, limit: int | None = None
    ) -> None:
        self.plan = plan
        self.labels: list[Label] = []
        self.withheld = 0
        """Messages that a drop-out swallowed."""
        self._pacing = pacing
        self._faults = faults
        self._history = history
        self._limit = limit
        self._signal = Signal(plan)
        self._recent = {sensor: deque[float](maxlen=RECENT) for sensor in plan.recording.sensors}
        self._n = 0
        self._striking: list[tuple[Onset, int]] = []
        self._outbox: list[tuple[int, int, Message]] = []
        self._order = count()
        self._recorded: tuple[RecordedAnomaly, int, int] | None = None

    @property
    def due_us(self) -> int | None:
        """When the next publication is due, unix µs; None when there will be none."""
        waiting = self._outbox[0][0] if self._outbox else None
        if self._limit is not None and self._n >= self._limit:
            return waiting
        taken = self._pacing.due_us(self._n)
        return taken if waiting is None else min(taken, waiting)

    def take(self, now_us: int) -> Publication | None:
        """What is due; None where a fault swallowed it. To be called when `due_us` has come."""
        if not (self._outbox and self._outbox[0][0] <= now_us):
            if self._n < self._history:
                return self._upload(now_us)
            message = self._read(now_us)
            self._begin_faults(message)
            sent = self._with_faults(message)
            self.withheld += not sent
            for each in sent:
                heapq.heappush(self._outbox, (each.due_us, next(self._order), each))
            if not (self._outbox and self._outbox[0][0] <= now_us):
                return None
        return Publication((heapq.heappop(self._outbox)[2],))

    def slept(self, gap_us: int) -> None:
        """The machine slept, and the device with it."""
        self._pacing = self._pacing.slept(gap_us)

    def close(self) -> None:
        """No more will be taken: label what is still open."""
        self._end_recorded()

    def _upload(self, now_us: int) -> Publication:
        until = min(self._n + UPLOAD, self._history)
        return Publication(tuple(self._read(now_us) for _ in range(self._n, until)), array=True)

    def _read(self, now_us: int) -> Message:
        """The next reading as the healthy device takes it."""
        values = self._signal.next()
        # A reading that is due at once is due now: a fault may add to it.
        message = Message(
            due_us=self._pacing.due_us(self._n) or now_us,
            event_us=self._pacing.event_us(self._n, now_us),
            seq=self._n,
            values=values,
        )
        self._label_recorded(message.event_us)
        for sensor, value in values.items():
            self._recent[sensor].append(value)
        self._n += 1
        return message

    def _begin_faults(self, message: Message) -> None:
        for fault in self._faults.starting(self.plan.device, message.event_us):
            # A fault shorter than the interval strikes one message: one that strikes none would be a false label.
            onset = Onset(
                fault=fault,
                from_us=message.event_us,
                to_us=max(self._faults.begins_us(fault) + round(fault.duration_s * 1e6), message.event_us),
                sigma={s: sigma(recent) for s, recent in self._recent.items()} if fault.kind in OF_SENSORS else {},
                last={sensor: recent[-1] for sensor, recent in self._recent.items() if recent},
            )
            self._striking.append((onset, 0))
            self.labels.append(
                Label(
                    tenant=self.plan.tenant,
                    device=self.plan.device,
                    sensor=fault.sensor,
                    kind=fault.kind,
                    from_us=onset.from_us,
                    to_us=onset.to_us,
                    size=fault.size,
                )
            )

    def _with_faults(self, message: Message) -> list[Message]:
        striking = [(onset, struck) for onset, struck in self._striking if message.event_us <= onset.to_us]
        self._striking = [(onset, struck + 1) for onset, struck in striking]
        sent = [message]
        for onset, struck in striking:
            sent = [faulty for each in sent for faulty in inject(each, onset, struck)]
        return sent

    def _label_recorded(self, event_us: int) -> None:
        if self._n < len(self.plan.stored):
            return
        row = (self.plan.phase + self._n - len(self.plan.stored)) % len(self.plan.recording)
        known = self.plan.recording.anomaly_at.get(row)
        if known is None or row == known.first:
            self._end_recorded()
        if known is not None:
            from_us = event_us if self._recorded is None else self._recorded[1]
            self._recorded = (known, from_us, event_us)

    def _end_recorded(self) -> None:
        if self._recorded is None:
            return
        known, from_us, to_us = self._recorded
        self._recorded = None
        self.labels.append(
            Label(
                tenant=self.plan.tenant,
                device=self.plan.device,
                sensor=known.sensor,
                kind=RECORDED,
                from_us=from_us,
                to_us=to_us,
                description=known.description,
            )
        )
