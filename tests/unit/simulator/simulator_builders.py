"""Builders: short ways to say what a simulator test is about."""

from collections.abc import Iterator

import numpy as np

from services.simulator.device import Device
from services.simulator.fault_schedule import FaultSchedule
from services.simulator.faults import parse
from services.simulator.fleet import NO_ROWS, DevicePlan, plan
from services.simulator.message import Message, Publication
from services.simulator.options import ReplayOptions
from services.simulator.pacing import pacing
from services.simulator.recordings import RecordedAnomaly, Recording

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def recording(
    *rows: float, anomalies: tuple[RecordedAnomaly, ...] = (), spacing_s: float = 60.0, name: str = "made"
) -> Recording:
    """One sensor, `flow`."""
    return Recording(
        name=name,
        sensors=("flow",),
        offsets_s=np.arange(len(rows)) * spacing_s,
        values=np.array(rows, dtype=float).reshape(-1, 1),
        anomalies=anomalies,
    )


def exact(rows: Recording, *, phase: int = 0, clock: float = 1.0, device: str = "pump-01") -> DevicePlan:
    """A device whose sensors say what was recorded: no gain, offset or noise."""
    width = len(rows.sensors)
    return DevicePlan(
        tenant="demo",
        site="plant-1",
        device=device,
        recording=rows,
        phase=phase,
        clock=clock,
        gain=np.ones(width),
        offset=np.zeros(width),
        noise=np.zeros(width),
        decimals=(6,) * width,
        seed=0,
        stored=NO_ROWS,
    )


def device(
    plan: DevicePlan, *faults: str, history: int = 0, limit: int | None = None, live_us: int = NOW, **options: object
) -> Device:
    schedule = FaultSchedule(iter(sorted(map(parse, faults), key=lambda f: f.at_s)), [plan.device], live_us)
    pace = pacing(plan, ReplayOptions(history=history, **options), NOW)
    return Device(plan, pace, schedule, history=history, limit=limit)


def fleet(rows: Recording, **options: object) -> list[DevicePlan]:
    return plan([rows], ReplayOptions(**options))


def publications(of: Device, count: int | None = None) -> Iterator[tuple[int, Publication]]:
    """What the device publishes and when, if it is asked exactly when something is due."""
    while (due := of.due_us) is not None and (count is None or count > 0):
        sent = of.take(max(due, NOW))
        if sent is not None:
            yield due, sent
            count = None if count is None else count - 1


def messages(of: Device, count: int | None = None) -> list[Message]:
    return [message for _, sent in publications(of, count) for message in sent.messages]
