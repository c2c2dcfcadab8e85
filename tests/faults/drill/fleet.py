"""Devices that publish at QoS 1 until they have the PUBACK, whatever happens to broker and network, and keep record.

In: a workload, a broker's address. Out: MQTT messages; in the folder, what was handed to the socket (written before)
and what was acknowledged (written after the PUBACK: the obligations). Nothing of Weir's in here.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.drill.device import POISON, Device, Message
from tests.faults.drill.diary import Diary, FleetRecord
from tests.faults.drill.workload import Workload

Credentials = Callable[[int], tuple[str, str]]
"""Device index -> MQTT user name and password."""

CLOSING_LEAP_US: Final = 11_000_000
"""How far the last message's time is ahead: more than the allowed lateness of 10 s."""

_TICK_S: Final = 0.02
_LOOK_EVERY: Final = 25


class NotAcknowledged(Exception):
    """The broker has not acknowledged all in time. `missing`: device -> sequence numbers (-1: a raw payload)."""

    def __init__(self, missing: dict[str, list[int]]) -> None:
        self.missing = missing
        some = {device: numbers[:5] for device, numbers in itertools.islice(missing.items(), 3)}
        total = sum(map(len, missing.values()))
        super().__init__(f"{total} messages of {len(missing)} devices have no PUBACK, such as {some}")


@dataclass(frozen=True)
class Counts:
    """Since the start. `unheard`: acknowledged with the word that nobody has subscribed: such a message is gone."""

    made: int
    acknowledged: int
    resent: int
    """Messages handed over again after a reconnect."""
    reconnects: int
    unheard: int


class Fleet:
    """All devices of a workload, one MQTT 5 connection each, in one thread with an event loop."""

    def __init__(
        self, workload: Workload, host: str, port: int, folder: Path, credentials: Credentials | None = None
    ) -> None:
        """Nothing is sent before `start`. `folder` is made; raises `FileExistsError` where there is one."""
        self.workload = workload
        self.cpu_s = 0.0
        """CPU seconds that the fleet's thread has used."""
        self._diary = Diary(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fleet {workload.row}", daemon=True)
        self._devices = [
            Device(
                workload.device_id(index),
                workload.topic(index),
                (host, port),
                None if credentials is None else credentials(index),
                self._diary,
            )
            for index in range(workload.devices)
        ]
        for index, device in enumerate(self._devices):
            device.owed = index / workload.devices
        self._made = 0
        self._factor = 1.0
        self._factor_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._defects: list[str] = []
        self._loop.set_exception_handler(lambda _, context: self._defects.append(repr(context)))

    def start(self) -> None:
        """Connect, and begin to publish; returns at once (see `wait_connected`)."""
        self._thread.start()
        self._do(self._begin())

    def wait_connected(self, deadline_s: float = 30.0) -> None:
        """Until all devices are connected. Raises `TimeoutError`, with the reasons."""
        deadline = time.monotonic() + deadline_s
        while away := {device.name: device.trouble for device in self._devices if not device.is_connected}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not connected: {away}")
            time.sleep(0.02)

    def burst(self, factor: float, seconds: float) -> None:
        """Publish `factor` times as fast for `seconds` from now; returns at once."""
        self._do(self._speed_up(factor, seconds))

    def publish_raw(self, device_index: int, payload: bytes) -> None:
        """Publish this too, under the device's topic, as soon as it can; returns at once.

        It must be poison, bytes of which Weir can use nothing, and each another one: its dead letter is found by it.
        """
        self._do(self._publish_raw(self._devices[device_index], payload))

    def stop(self, deadline_s: float = 60.0) -> None:
        """Make no more messages but two closing ones a device, wait for every PUBACK, and disconnect.

        The first closing message shows a lost tail; the second, 11 s ahead by the device's clock, lets the watermark
        pass the first one's time, so that the gap is written down. Raises `NotAcknowledged`; closed it is all the same.
        """
        try:
            self._do(self._finish(deadline_s), deadline_s + 30.0)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._diary.close()

    @property
    def in_flight(self) -> int:
        """Publishes made and not acknowledged yet, also those that wait for a connection."""
        return sum(len(device.waiting) + len(device.unacked) for device in self._devices)

    def counts(self) -> Counts:
        """How it goes."""
        return Counts(
            made=self._made,
            acknowledged=sum(map(len, list(self._diary.record.acknowledged.values()))),
            resent=sum(device.resent for device in self._devices),
            reconnects=sum(max(0, device.connections - 1) for device in self._devices),
            unheard=sum(device.unheard for device in self._devices),
        )

    def acknowledged(self) -> dict[str, dict[int, int]]:
        """Device -> sequence number -> ts in µs of what has a PUBACK."""
        return self.record().acknowledged

    def sent(self) -> dict[str, dict[int, int]]:
        """The same of all that was ever handed to a socket: it may be stored, and need not."""
        return self.record().sent

    def record(self) -> FleetRecord:
        """The whole record as it stands now, as a copy."""
        known = self._diary.record
        # Copies of built-in containers are atomic: the fleet's thread cannot change them half-way.
        return FleetRecord(
            acknowledged={device: seqs.copy() for device, seqs in known.acknowledged.copy().items()},
            sent={device: seqs.copy() for device, seqs in known.sent.copy().items()},
            poison_acknowledged={device: seen.copy() for device, seen in known.poison_acknowledged.copy().items()},
            poison_sent={device: times.copy() for device, times in known.poison_sent.copy().items()},
            refused=known.refused.copy(),
        )

    # -------------------------------------------------------------------------------------------- in the fleet's thread

    def _do(self, action: Coroutine[Any, Any, None], within_s: float = 30.0) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(within_s)

    async def _begin(self) -> None:
        self._tasks = [asyncio.create_task(device.run()) for device in self._devices]
        self._pace = asyncio.create_task(self._keep_pace())

    async def _speed_up(self, factor: float, seconds: float) -> None:
        self._factor = factor
        self._factor_until = self._loop.time() + seconds

    async def _publish_raw(self, device: Device, payload: bytes) -> None:
        device.publish(Message(POISON, 0, payload))

    async def _keep_pace(self) -> None:
        last = self._loop.time()
        for turn in itertools.count():
            await asyncio.sleep(_TICK_S)
            now = self._loop.time()
            if now >= self._factor_until:
                self._factor = 1.0
            due = (now - last) * self.workload.per_second * self._factor
            last = now
            now_us = time.time_ns() // 1000
            for index, device in enumerate(self._devices):
                device.owed += due
                while device.owed >= 1.0:
                    device.owed -= 1.0
                    self._make(index, now_us)
                if turn % _LOOK_EVERY == 0:
                    device.look(now)
            if turn % _LOOK_EVERY == 0:
                self._diary.flush()
                self.cpu_s = time.thread_time()

    def _make(self, index: int, now_us: int) -> None:
        device = self._devices[index]
        ts_us = max(now_us + self.workload.clock_offset_us.get(index, 0), device.last_ts_us + 1)
        seq = device.next_seq
        device.next_seq += 1
        device.last_ts_us = ts_us
        self._made += 1
        message = Message(seq, ts_us, self.workload.message(index, seq, ts_us))
        for _ in range(self.workload.copies):
            device.publish(message)

    async def _finish(self, deadline_s: float) -> None:
        for task in (self._pace, *self._tasks):
            if task.done():
                task.result()
        if self._defects:
            raise AssertionError(f"the fleet itself is broken: {self._defects}")
        self._pace.cancel()
        now_us = time.time_ns() // 1000
        for index, device in enumerate(self._devices):
            self._make(index, now_us)
            device.last_ts_us += CLOSING_LEAP_US
            self._make(index, now_us)
        deadline = self._loop.time() + deadline_s
        while self.in_flight and self._loop.time() < deadline:
            await asyncio.sleep(_TICK_S)
            for device in self._devices:
                device.look(self._loop.time())
        for task in self._tasks:
            task.cancel()
        for device in self._devices:
            device.leave()
        await asyncio.sleep(_TICK_S)
        self.cpu_s = time.thread_time()
        missing = {
            device.name: [message.seq for message in (*device.unacked.values(), *device.waiting)]
            for device in self._devices
            if device.unacked or device.waiting
        }
        if missing:
            raise NotAcknowledged(missing)
