"""Audits one partition: reads its topics once for each pass, and asks InfluxDB device by device.

A pass takes the devices whose key falls into it, so that what is held at once is bounded however long the range is.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Message

from schemas import influx as layout
from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.mqtt import ID
from schemas.telemetry import Clean
from services.console.audit.account import Account, Finding, Missing
from services.console.audit.device import DeviceAudit, Fate, Series
from services.console.audit.points import Ask, readings
from services.console.device_ledgers import DeviceLedgers
from services.console.log_slices import LogSlices, Slice
from services.runtime.routes import Routes
from services.stream.arrival import RawRecord
from services.stream.clock_rules import MAX_LEAD_US
from services.stream.ledger import Ledger

MESSAGES_AT_ONCE: Final = 100_000
"""Messages of a pass, about: 2 KB of memory each, with three readings."""
_SLACK_US: Final = 60_000_000
_KEY: Final = re.compile(rf"{ID.pattern}/{ID.pattern}".encode())

_decode_clean = msgspec.json.Decoder(Clean).decode
_decode_letter = msgspec.json.Decoder(DeadLetter).decode


class Range(NamedTuple):
    """What is looked at of one topic's partition: `slice_` is read, from `judged` on it counts.

    From `committed` on its reader has not confirmed it yet. `whole`: it begins where the topic began. `is_cut`: it
    would begin earlier, had retention not removed what was there.
    """

    slice_: Slice
    judged: int
    committed: int
    whole: bool
    is_cut: bool

    def fate(self, offset: int) -> Fate:
        """How a record stands to the range."""
        if offset < self.judged:
            return Fate.OUTSIDE
        return Fate.IN_FLIGHT if offset >= self.committed else Fate.JUDGED


class Ranges(NamedTuple):
    """One partition's ranges. `complete_since_us`: what telemetry.clean was told since then is all there; 0: always.

    `until_us`: messages that came then or later are no part of the audit, nor is what came of them.
    """

    raw: Range
    clean: Range
    letters: Slice
    complete_since_us: int
    until_us: int | None

    def fate_of_clean(self, record: Clean, offset: int) -> Fate:
        """How a record of telemetry.clean stands to the range."""
        if self.until_us is not None and record.received_us >= self.until_us:
            return Fate.OUTSIDE
        return self.clean.fate(offset)


class PartitionAudit:
    """One partition. `device`: the key of the only one to look at; None: all."""

    def __init__(
        self,
        partition: int,
        ranges: Ranges,
        log: LogSlices,
        ask: Ask,
        routes: Routes,
        *,
        prefix: str = "",
        device: str | None = None,
        state: DeviceLedgers | None = None,
    ) -> None:
        self.partition = partition
        self.ledgers: dict[str, Ledger] = {}
        """By device, as audited."""
        self._ranges = ranges
        self._log = log
        self._ask = ask
        self._routes = routes
        self._prefix = prefix
        self._device = None if device is None else device.encode()
        self._state = state or DeviceLedgers(partition)

    @property
    def passes(self) -> int:
        """How often the partition is read."""
        most = max(self._ranges.raw.slice_.size, self._ranges.clean.slice_.size)
        return 1 if self._device is not None else 1 + most // MESSAGES_AT_ONCE

    def run(self, progress: Callable[[str], None]) -> Account:
        """Audit all passes; `progress` is told what is done."""
        account = Account()
        for number in range(self.passes):
            account.add(self._pass(number, progress))
        return account

    def _pass(self, number: int, progress: Callable[[str], None]) -> Account:
        where = f"partition {self.partition}" + (f", pass {number + 1} of {self.passes}" if self.passes > 1 else "")
        audits = _Audits(self.partition, self._routes, whole_life=self._ranges.raw.whole and self._ranges.clean.whole)
        progress(f"{where}: dead letters, clean records")
        for key, message in self._messages(topics.DEAD_LETTER, self._ranges.letters, number):
            letter = _decode_letter(message.value() or b"")
            audits.of(key).take_letter(letter, letter.topic.removeprefix(self._prefix))
        for key, message in self._messages(topics.CLEAN, self._ranges.clean.slice_, number):
            offset, record = message.offset() or 0, _decode_clean(message.value() or b"")
            audits.of(key).take_clean(record, offset, self._ranges.fate_of_clean(record, offset))
        progress(f"{where}: messages")
        for key, message in self._messages(topics.RAW, self._ranges.raw.slice_, number):
            received = _raw_record(message)
            audits.of(key).take_message(received, self._fate_of_message(key, received.offset))
        self._settle(audits)
        progress(f"{where}: points of {len(audits.by_key):,} devices")
        extras = {}
        for key, audit in audits.by_key.items():
            self._points(key, audit)
            if audit.extras:
                extras[key] = audit
        self._look_again(extras)
        account = Account()
        for key, audit in audits.by_key.items():
            if audit.account.ledger.received:
                self.ledgers[key] = audit.account.ledger
            audit.account.devices = int(audit.account.ledger.received + audit.account.points.written > 0)
            account.add(audit.account)
        return account

    def _messages(self, topic: str, slice_: Slice, number: int) -> Iterator[tuple[str, Message]]:
        """The slice's records of this pass, with the key that the stream knows their device by."""
        passes, wanted, unplaced = self.passes, self._device, topics.UNPLACED_KEY
        for message in self._log.read(topic, self.partition, slice_):
            key = message.key() or b""
            if _KEY.fullmatch(key) is None:
                key = unplaced
            if (wanted is None and zlib.crc32(key) % passes == number) or key == wanted:
                yield key.decode(), message

    def _fate_of_message(self, key: str, offset: int) -> Fate:
        fate = self._ranges.raw.fate(offset)
        if fate is Fate.IN_FLIGHT:
            known = self._state.get(key)
            # What a device's state has applied is done, though the commit that says so was still to come.
            if known is not None and offset <= known.applied:
                return Fate.JUDGED
        return fate

    def _points(self, key: str, audit: DeviceAudit) -> None:
        tenant, _, device = key.partition("/")
        for span in audit.spans():
            for reading in readings(self._ask, tenant, device, span):
                audit.take_point(*reading)
        audit.close()

    def _settle(self, audits: "_Audits") -> None:
        """Messages without a trace may repeat some from before the range: then those left one."""
        wanted = {name: f for a in audits.by_key.values() for s in a.suspects for name, f in s.findings.items()}
        times = [finding.event_us for finding in wanted.values() if finding.event_us is not None]
        known = {record.id for _, record in self._outside(min(times)) if record.id in wanted} if times else set()
        for audit in audits.by_key.values():
            audit.settle(known)

    def _look_again(self, extras: Mapping[str, DeviceAudit]) -> None:
        """Points that no record explains may be of records from before the range, or written while it was read."""
        since_ns = self._ranges.complete_since_us * 1000
        open_: dict[str, dict[tuple[Series, int], float]] = defaultdict(dict)
        for key, audit in extras.items():
            for series, at_ns, value in audit.extras:
                if at_ns >= since_ns:
                    open_[key][series, at_ns] = value
        if not any(open_.values()):
            return
        for key, record in self._outside(min(at for points in open_.values() for _, at in points) // 1000):
            points = open_.get(key)
            if points:
                at_ns = layout.time_ns(record.event_us, record.seq)
                for sensor in record.values:
                    points.pop(((record.site, sensor), at_ns), None)
        for key, points in open_.items():
            for ((_, sensor), at_ns), value in sorted(points.items(), key=lambda point: point[0][1]):
                detail = f"value {value}, time {at_ns} ns"
                extras[key].account.find(Finding(Missing.NOT_IN_KAFKA, key, "", None, at_ns // 1000, [sensor], detail))

    def _outside(self, event_us: int) -> Iterator[tuple[str, Clean]]:
        """Clean records that may be of this event time or a later one, but stand before or behind the range."""
        slice_ = self._ranges.clean.slice_
        there = self._log.bounds(topics.CLEAN, [self.partition])
        since = self._log.offsets_at(topics.CLEAN, event_us - MAX_LEAD_US - _SLACK_US, there)[self.partition]
        end = there[self.partition].end
        for part in (Slice(since, slice_.first), Slice(max(since, slice_.end), end)):
            for message in self._log.read(topics.CLEAN, self.partition, part):
                yield (message.key() or b"").decode(), _decode_clean(message.value() or b"")


class _Audits:
    """The devices of a pass, as they are met."""

    def __init__(self, partition: int, routes: Routes, *, whole_life: bool) -> None:
        self.by_key: dict[str, DeviceAudit] = {}
        self._partition = partition
        self._routes = routes
        self._whole_life = whole_life

    def of(self, key: str) -> DeviceAudit:
        """That device's."""
        audit = self.by_key.get(key)
        if audit is None:
            audit = DeviceAudit(key, self._partition, self._routes, whole_life=self._whole_life)
            self.by_key[key] = audit
        return audit


def _raw_record(message: Message) -> RawRecord:
    headers: Any = message.headers()
    return RawRecord(message.offset() or 0, message.key() or b"", message.value() or b"", dict(headers or ()))
