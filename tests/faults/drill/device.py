"""One device: publishes at QoS 1 in order, connects again by itself, and resends until it has the PUBACK."""

import asyncio
import random
from collections import deque
from typing import Final, NamedTuple

from tests.faults.drill import mqtt_packets as packets
from tests.faults.drill.diary import Diary

KEEPALIVE_S: Final = 5
SESSION_EXPIRY_S: Final = 3600
MOST_UNACKED: Final = 500
POISON: Final = -1
"""Stands for the sequence number of what has none."""

_CONNECT_S: Final = 5.0
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0)
"""Between attempts to connect; each with some jitter."""


class Message(NamedTuple):
    """One publish."""

    seq: int
    ts_us: int
    payload: bytes


class Device(asyncio.Protocol):
    """For one event loop. `waiting` is what was made and not handed over, `unacked` what was, by packet id."""

    def __init__(
        self, name: str, topic: str, address: tuple[str, int], credentials: tuple[str, str] | None, diary: Diary
    ) -> None:
        self.name = name
        self.next_seq = 0
        self.last_ts_us = 0
        self.owed = 0.0
        """Messages that it should have made by now and has not, below 1."""
        self.waiting: deque[Message] = deque()
        self.unacked: dict[int, Message] = {}
        self.is_connected = False
        self.connections = self.resent = self.unheard = 0
        self.trouble = "not connected yet"
        """Why it is not connected, as far as it knows."""
        self._topic = topic
        self._address = address
        self._connect = packets.connect(name, KEEPALIVE_S, SESSION_EXPIRY_S, credentials)
        self._diary = diary
        self._jitter = random.Random(name)
        self._transport: asyncio.Transport | None = None
        self._received = packets.Packets()
        self._ended = asyncio.Event()
        self._heard = self._pinged = 0.0
        self._packet_id = 0
        self._most_unacked = MOST_UNACKED

    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""
        attempt = 0
        while True:
            before = self.connections
            await self._connect_once()
            attempt = 0 if self.connections > before else attempt + 1
            pause = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
            await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.5))

    def publish(self, message: Message) -> None:
        """Publish it as soon as may be."""
        self.waiting.append(message)
        self._hand_over()

    def look(self, now: float) -> None:
        """Called every so often (`now`: the loop's time): ping, and give up a connection on which nothing comes."""
        if self._transport is None:
            return
        patience = 1.5 * KEEPALIVE_S if self.is_connected else _CONNECT_S
        if now - self._heard > patience:
            self.trouble = f"nothing heard for {patience} s"
            self._transport.abort()
        elif self.is_connected and now - self._pinged > KEEPALIVE_S / 2:
            self._pinged = now
            self._transport.write(packets.PINGREQ)

    def leave(self) -> None:
        """Disconnect for good; cancel `run` first."""
        if self._transport is not None:
            if self.is_connected:
                self._transport.write(packets.disconnect())
            self._transport.close()

    # ------------------------------------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = packets.Packets()
        self._heard = asyncio.get_running_loop().time()
        transport.write(self._connect)

    def data_received(self, data: bytes) -> None:
        """Take what the broker says."""
        self._heard = asyncio.get_running_loop().time()
        for kind, body in self._received.feed(data):
            if kind == packets.PUBACK:
                self._acknowledged(*packets.puback(body))
            elif kind == packets.CONNACK:
                self._connected(packets.connack(body))
            elif kind == packets.DISCONNECT:
                self.trouble = f"the broker disconnected it: reason 0x{body[0] if body else 0:02x}"
        self._hand_over()

    def connection_lost(self, error: Exception | None) -> None:
        """Let `run` connect anew."""
        if self.is_connected:
            self.trouble = str(error or "closed by the broker")
        self.is_connected = False
        self._transport = None
        self._ended.set()

    # --------------------------------------------------------------------------------------------------------------

    async def _connect_once(self) -> None:
        self._ended.clear()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await loop.create_connection(lambda: self, *self._address)
        except OSError as error:
            # A TimeoutError is one too.
            self.trouble = str(error) or "no TCP connection in time"
            return
        await self._ended.wait()

    def _connected(self, answer: packets.Connected) -> None:
        assert self._transport is not None
        if answer.reason >= packets.FIRST_ERROR:
            self.trouble = f"the broker refused it: reason 0x{answer.reason:02x}"
            self._transport.close()
            return
        self.is_connected = True
        self.connections += 1
        self._most_unacked = min(MOST_UNACKED, answer.receive_maximum)
        for packet_id, message in self.unacked.items():
            self._write(packet_id, message, is_repeat=answer.session_present)
        self.resent += len(self.unacked)

    def _hand_over(self) -> None:
        while self.is_connected and self.waiting and len(self.unacked) < self._most_unacked:
            message = self.waiting.popleft()
            packet_id = self._next_packet_id()
            self.unacked[packet_id] = message
            self._write(packet_id, message, is_repeat=False)

    def _write(self, packet_id: int, message: Message, *, is_repeat: bool) -> None:
        assert self._transport is not None
        if message.seq == POISON:
            self._diary.poison_sent(self.name, message.payload)
        else:
            self._diary.sent(self.name, message.seq, message.ts_us)
        self._transport.write(packets.publish(self._topic, packet_id, message.payload, is_repeat=is_repeat))

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % 65535 + 1
            if self._packet_id not in self.unacked:
                return self._packet_id

    def _acknowledged(self, packet_id: int, reason: int) -> None:
        message = self.unacked.pop(packet_id, None)
        if message is None:
            return
        if reason >= packets.FIRST_ERROR:
            self._diary.refused(self.name, message.seq, reason)
        elif message.seq == POISON:
            self._diary.poison_acknowledged(self.name, message.payload)
        else:
            self.unheard += reason == packets.NO_SUBSCRIBERS
            self._diary.acknowledged(self.name, message.seq, message.ts_us)
