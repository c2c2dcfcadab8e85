"""Drive: takes from each device what is due and hands it to MQTT, as fast as MQTT has room."""

import heapq
from collections.abc import Callable, Sequence
from typing import Final

from services.runtime import logging
from services.runtime.clock import Clock
from services.simulator.connection import Address
from services.simulator.device import Device
from services.simulator.fleet import DevicePlan
from services.simulator.labels import RECORDED, Labels
from services.simulator.message import encode
from services.simulator.publisher import Publisher

log = logging.get("simulator")

TURN_S: Final = 0.1
"""Longest wait for the network, and so for `should_stop`."""
BATCH: Final = 500
"""Publishes between two looks at the network."""
SLEPT_US: Final = 60_000_000
"""A wall clock that leaps by more between two turns means that the machine slept, or that its clock was set."""


def address(plan: DevicePlan) -> Address:
    """Where the device publishes."""
    return Address(plan.tenant, plan.site, plan.device)


class Drive:
    """Nothing is taken from a device before MQTT has room for it: while the broker is away, readings wait untaken."""

    def __init__(self, devices: Sequence[Device], publisher: Publisher, labels: Labels, clock: Clock) -> None:
        self._devices = [(device, address(device.plan)) for device in devices]
        self._publisher = publisher
        self._labels = labels
        self._clock = clock
        self._due: list[tuple[int, int]] = []
        """When each device that waits for its time is due: a heap of (unix µs, index)."""
        self._held: list[int] = []
        """Devices that are due and wait for room."""
        self.readings = 0
        self.faults = 0

    def run(self, should_stop: Callable[[], bool], until_us: int | None) -> None:
        """Until all is published and acknowledged, `until_us` has come, or asked to stop."""
        self._plan()
        before_us = self._clock()
        while (self._due or self._held or not self._publisher.idle) and not should_stop():
            now_us = self._clock()
            if until_us is not None and now_us >= until_us:
                break
            if abs(now_us - before_us) > SLEPT_US:
                self._slept(now_us - before_us)
            before_us = now_us
            self._publish_due(now_us)
            self._publisher.turn(self._wait_s(now_us))
        for device, _ in self._devices:
            device.close()
            self._take_labels(device)

    def _plan(self) -> None:
        self._held = []
        self._due = [(due, i) for i, (device, _) in enumerate(self._devices) if (due := device.due_us) is not None]
        heapq.heapify(self._due)

    def _slept(self, gap_us: int) -> None:
        log.warning(
            "clock_leapt", seconds=round(gap_us / 1e6), means="devices go on from now; they took no readings meanwhile"
        )
        for device, _ in self._devices:
            device.slept(gap_us)
        self._plan()

    def _publish_due(self, now_us: int) -> None:
        held, self._held = self._held, []
        for i in held:
            self._publish(i, now_us)
        for _ in range(BATCH):
            if not self._due or self._due[0][0] > now_us:
                return
            self._publish(heapq.heappop(self._due)[1], now_us)

    def _publish(self, i: int, now_us: int) -> None:
        device, where = self._devices[i]
        if not self._publisher.has_room(where):
            self._held.append(i)
            return
        publication = device.take(now_us)
        if publication is not None:
            self._publisher.publish(where, encode(publication))
            self.readings += publication.readings
        if device.labels:
            self._take_labels(device)
        due = device.due_us
        if due is not None:
            heapq.heappush(self._due, (due, i))

    def _take_labels(self, device: Device) -> None:
        for label in device.labels:
            self._labels.write(label)
            if label.kind != RECORDED:
                self.faults += 1
                log.info("fault_begins", device=label.device, sensor=label.sensor, kind=label.kind)
        device.labels.clear()

    def _wait_s(self, now_us: int) -> float:
        """Until the next device is due; those held are woken by the network."""
        if not self._due:
            return TURN_S
        return min(max((self._due[0][0] - now_us) / 1e6, 0.0), TURN_S)
