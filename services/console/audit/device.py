"""One device's records, put beside each other. Pure.

They come in this order: dead letters, clean records, messages (each in the order of its topic), then the points that
InfluxDB holds. What is then left on any side is a finding.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from schemas import raw, topics
from schemas.dead_letter import DeadLetter
from schemas.influx import time_ns
from schemas.reasons import Reason
from schemas.telemetry import Clean, TimeSource
from services.console.audit.account import Account, Finding, Missing
from services.runtime.errors import Poison
from services.runtime.routes import Placed, Routes
from services.stream.arrival import Arrival, RawRecord
from services.stream.clock_rules import event_time
from services.stream.decoders import Element
from services.stream.pipeline import DECODERS

SPAN_GAP_US: Final = 600_000_000
"""InfluxDB is asked for one span of time over readings that are no farther apart than this."""
MOST_EXTRAS: Final = 1000
"""Points of a device in InfluxDB that no record explains; more are not looked at one by one."""


class Fate(Enum):
    """How a record stands to the range that is audited."""

    OUTSIDE = "outside"
    """Older or newer: known, so that a repeat of it is recognised, but not judged."""
    JUDGED = "judged"
    IN_FLIGHT = "in flight"
    """Not yet committed by its reader when the audit began: its results may or may not be there."""


class Span(NamedTuple):
    """Event times in unix ns, both inclusive."""

    first_ns: int
    last_ns: int


class _Letter(NamedTuple):
    """A dead letter, as far as it counts."""

    reason: Reason
    sensor: str | None


class _Written(msgspec.Struct, gc=False):
    """One record of telemetry.clean; `message` is its message's offset on telemetry.raw, -1 until that is met."""

    offset: int
    received_us: int
    event_us: int
    seq: int | None
    site: str
    sensors: tuple[str, ...]
    fate: Fate
    message: int = -1


class _Point(msgspec.Struct, gc=False):
    """A reading that InfluxDB should hold."""

    value: float
    record: _Written


class _Outcome(NamedTuple):
    """What became of an element's readings."""

    stored: int
    dead: list[Reason]
    duplicates: int
    missing: list[str]
    repeated: bool
    event_us: int | None


class Suspect(msgspec.Struct):
    """A message of which readings are lost, unless it repeats one from before the range.

    `findings` by the id that their clean record has, if so. `found`: other readings of the message are accounted for.
    """

    findings: dict[str, Finding]
    found: bool


Series = tuple[str, str]
"""Site and sensor."""


class DeviceAudit:
    """One device's audit. `whole_life`: the range begins where telemetry.raw began, and nothing was removed of it."""

    def __init__(self, key: str, partition: int, routes: Routes, *, whole_life: bool = False) -> None:
        self.key = key
        self.account = Account()
        self.extras: list[tuple[Series, int, float]] = []
        """Points in InfluxDB that no clean record explains: series, time in ns, value."""
        self.suspects: list[Suspect] = []
        self._partition = partition
        self._routes = routes
        self._whole_life = whole_life
        self._letters: dict[int, dict[int, _Letter]] = {}
        self._refused: dict[int, set[str | None]] = {}
        self._written: dict[str, _Written] = {}
        self._points: dict[Series, dict[int, _Point]] = {}
        self._sensors: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._identities: set[bytes] = set()

    # ------------------------------------------------------------------------------------------------ what comes in

    def take_letter(self, letter: DeadLetter, topic: str) -> None:
        """A dead letter of this device, about a record of `topic` (its name without a prefix)."""
        if letter.replayed_us is not None:
            return
        if topic == topics.CLEAN:
            self._refused.setdefault(letter.offset, set()).add(letter.sensor)
        elif topic == topics.RAW:
            self._letters.setdefault(letter.offset, {})[letter.index] = _Letter(letter.reason, letter.sensor)

    def take_clean(self, record: Clean, offset: int, fate: Fate) -> None:
        """A record of telemetry.clean, at `offset`."""
        known = self._written.get(record.id)
        if known is not None:
            self.account.points.repeats += 1
            self._refused.setdefault(known.offset, set()).update(self._refused.get(offset, ()))
            return
        names = tuple(record.values)
        names = self._sensors.setdefault(names, names)
        written = _Written(offset, record.received_us, record.event_us, record.seq, record.site, names, fate)
        self._written[record.id] = written
        at_ns = time_ns(record.event_us, record.seq)
        judged = fate is not Fate.OUTSIDE
        self.account.points.written += len(names) if judged else 0
        for sensor, value in record.values.items():
            series = self._points.setdefault((record.site, sensor), {})
            before = series.get(at_ns)
            if before is not None and before.record.fate is not Fate.OUTSIDE:
                self._overwritten(before, value, sensor)
            series[at_ns] = _Point(value, written)

    def take_message(self, record: RawRecord, fate: Fate) -> None:
        """A record of telemetry.raw."""
        letters = self._letters.pop(record.offset, {})
        if raw.OPERATOR_COMMAND in record.headers:
            # No message: neither it nor its dead letter is counted.
            return
        arrival = Arrival(record)
        whole = next((letter for letter in letters.values() if letter.sensor is None), None)
        account, ledger = self.account, self.account.ledger
        judged = fate is Fate.JUDGED
        account.messages_in_flight += fate is Fate.IN_FLIGHT
        ledger.received += judged
        account.replayed += judged and arrival.replay is not None
        elements = self._decode(arrival)
        if whole is not None:
            self._remember(arrival, elements)
            if judged:
                _count(ledger.dead_messages, whole.reason)
            return
        if elements is None:
            if self._is_remembered(arrival) and arrival.is_marked_repeat and arrival.replay is None:
                ledger.redelivered += judged
            elif judged:
                account.find(Finding(Missing.NOT_ON_CLEAN, self.key, self._place(record.offset), None, None, []))
            self._remember(arrival, elements)
            return
        outcomes = list(self._outcomes(arrival, elements, letters))
        self._remember(arrival, elements)
        if judged:
            self._count_outcomes(outcomes, arrival, elements)

    def spans(self) -> Iterator[Span]:
        """The times to ask InfluxDB for, each with a bounded number of expected points between long silences."""
        times = sorted({at_ns for series in self._points.values() for at_ns in series})
        if not times:
            return
        first = last = times[0]
        for at_ns in times:
            if at_ns - last > SPAN_GAP_US * 1000:
                yield Span(first, last)
                first = at_ns
            last = at_ns
        yield Span(first, last)

    def take_point(self, site: str, sensor: str, at_ns: int, value: float) -> None:
        """A point of `readings` in InfluxDB."""
        expected = self._points.get((site, sensor), {}).pop(at_ns, None)
        if expected is None:
            if len(self.extras) < MOST_EXTRAS:
                self.extras.append(((site, sensor), at_ns, value))
        elif expected.record.fate is Fate.OUTSIDE:
            return
        elif expected.value == value:
            self.account.points.stored += 1
        else:
            detail = f"{expected.value} on telemetry.clean, {value} in InfluxDB"
            self._find_point(Missing.OTHER_VALUE, expected.record, [sensor], detail)

    def settle(self, known: Collection[str]) -> None:
        """Decide about the suspects: `known` are ids of clean records from before the range, which they repeat."""
        ledger = self.account.ledger
        for suspect in self.suspects:
            lost = [finding for id_, finding in suspect.findings.items() if id_ not in known]
            repeated = sum(len(f.sensors) for id_, f in suspect.findings.items() if id_ in known)
            for finding in lost:
                self.account.find(finding)
            if suspect.found:
                ledger.readings_duplicates += repeated
            elif not lost:
                ledger.redelivered += 1
        self.suspects = []

    def close(self) -> None:
        """All points were seen: what is left is not in InfluxDB."""
        missing: dict[int, tuple[_Written, list[str]]] = {}
        for (_, sensor), series in sorted(self._points.items()):
            for point in series.values():
                record = point.record
                if record.fate is Fate.OUTSIDE:
                    continue
                if not {sensor, None}.isdisjoint(self._refused.get(record.offset, ())):
                    self.account.points.refused += 1
                elif record.fate is Fate.IN_FLIGHT:
                    self.account.points.in_flight += 1
                else:
                    missing.setdefault(record.offset, (record, []))[1].append(sensor)
        for _, (record, sensors) in sorted(missing.items()):
            self._find_point(Missing.NOT_IN_INFLUXDB, record, sensors)
        if self._whole_life:
            for record in self._written.values():
                if record.message < 0 and record.fate is Fate.JUDGED:
                    self._find_point(Missing.NO_MESSAGE, record, list(record.sensors))

    # ----------------------------------------------------------------------------------------------- of one message

    def _decode(self, arrival: Arrival) -> list[Element] | None:
        placed = self._routes.place(arrival.mqtt_topic)
        if arrival.refusal is not None or type(placed) is not Placed or placed.key.decode() != self.key:
            return None
        try:
            return DECODERS[placed.route.decoder].decode(arrival.record.value)
        except Poison:
            return None

    def _outcomes(self, arrival: Arrival, elements: list[Element], letters: dict[int, _Letter]) -> Iterator[_Outcome]:
        index = 0
        bytes_known = self._is_remembered(arrival)
        for position, element in enumerate(elements):
            sensors = sensors_of(element)
            yield self._outcome(arrival, element, position, index, sensors, letters, bytes_known=bytes_known)
            index += element.entries

    def _outcome(
        self,
        arrival: Arrival,
        element: Element,
        position: int,
        index: int,
        sensors: list[str],
        letters: dict[int, _Letter],
        *,
        bytes_known: bool,
    ) -> _Outcome:
        event_us, source = _time_of(element, arrival.received_us)
        written = self._claim(arrival, element, position)
        stored = () if written is None else written.sensors
        dead = [letters[at].reason for at in range(index, index + len(sensors)) if at in letters]
        rest = [
            (index + rank, sensor)
            for rank, sensor in enumerate(sensors)
            if sensor not in stored and index + rank not in letters
        ]
        if not stored and not dead and self._is_repeat(arrival, element, position, source, bytes_known=bytes_known):
            return _Outcome(0, [], len(sensors), [], repeated=True, event_us=event_us)
        replay = arrival.replay
        missing = [
            sensor
            for at, sensor in rest
            if not (replay is not None and replay.readings is not None and at not in replay.readings)
            and not self._is_stored(element, sensor, event_us, source, replayed=replay is not None)
        ]
        if replay is not None and rest and not stored and not dead and not missing:
            return _Outcome(0, [], len(sensors), [], repeated=True, event_us=event_us)
        return _Outcome(len(stored), dead, len(rest) - len(missing), missing, repeated=False, event_us=event_us)

    def _claim(self, arrival: Arrival, element: Element, position: int) -> _Written | None:
        """The clean record that this very message became."""
        by_place = self._id_by_place(arrival, element, position)
        written = self._written.get(by_place)
        if written is None and element.seq is not None and arrival.replay is None:
            written = self._written.get(self._id_by_seq(element, position))
            if written is not None and written.received_us != arrival.received_us:
                return None
        if written is None or written.message >= 0:
            return None
        written.message = arrival.record.offset
        return written

    def _is_repeat(
        self, arrival: Arrival, element: Element, position: int, source: TimeSource | None, *, bytes_known: bool
    ) -> bool:
        """Whether a message before it had the same identity: then nothing new is made of it."""
        if arrival.replay is not None:
            return False
        if element.seq is None:
            return bytes_known and (arrival.is_marked_repeat or source is not TimeSource.RECEIVED)
        if source is not TimeSource.DEVICE:
            # Without a clock of its own a counter comes by each number again: only the bytes tell.
            return bytes_known
        return _identity(element, position) in self._identities or self._id_by_seq(element, position) in self._written

    def _is_stored(
        self, element: Element, sensor: str, event_us: int | None, source: TimeSource | None, *, replayed: bool
    ) -> bool:
        """Whether the same reading came before: same time (and same value, where no `seq` tells repeats)."""
        if event_us is None or not (replayed or (element.seq is None and source is TimeSource.DEVICE)):
            return False
        at_ns = time_ns(event_us, element.seq)
        value = element.values.get(sensor)
        found = [series[at_ns] for (_, name), series in self._points.items() if name == sensor and at_ns in series]
        return any(point.value == value for point in found)

    def _count_outcomes(self, outcomes: list[_Outcome], arrival: Arrival, elements: list[Element]) -> None:
        ledger = self.account.ledger
        if all(outcome.repeated for outcome in outcomes):
            ledger.redelivered += 1
            return
        found = any(outcome.repeated or not outcome.missing for outcome in outcomes) or any(
            outcome.stored or outcome.dead or outcome.duplicates for outcome in outcomes
        )
        suspect = Suspect({}, found)
        for position, (element, outcome) in enumerate(zip(elements, outcomes, strict=True)):
            if outcome.missing:
                place = self._place(arrival.record.offset)
                suspect.findings[self._id_by_seq(element, position)] = Finding(
                    Missing.NOT_ON_CLEAN, self.key, place, element.seq, outcome.event_us, outcome.missing
                )
            if found:
                ledger.readings_decoded += outcome.stored + len(outcome.dead) + outcome.duplicates
                ledger.readings_decoded += len(outcome.missing)
                ledger.readings_stored += outcome.stored
                ledger.readings_duplicates += outcome.duplicates
                for reason in outcome.dead:
                    _count(ledger.dead_readings, reason)
        if suspect.findings:
            self.suspects.append(suspect)
        ledger.decoded += found

    # ---------------------------------------------------------------------------------------- what was seen before

    def _remember(self, arrival: Arrival, elements: list[Element] | None) -> None:
        self._identities.add(self._bytes_of(arrival, elements))
        for position, element in enumerate(elements or ()):
            if element.seq is not None:
                self._identities.add(_identity(element, position))

    def _is_remembered(self, arrival: Arrival) -> bool:
        return self._bytes_of(arrival, None) in self._identities or self._bytes_of(arrival, []) in self._identities

    @staticmethod
    def _bytes_of(arrival: Arrival, elements: list[Element] | None) -> bytes:
        # What no decoder can read is told apart by its MQTT topic too: devices that share a key may send it.
        before = arrival.mqtt_topic.encode() if elements is None else b"$"
        return blake2b(before + b" " + arrival.record.value, digest_size=8).digest()

    def _id_by_seq(self, element: Element, position: int) -> str:
        return f"{self.key}:{_sent(element)}:{element.seq}:{position}"

    def _id_by_place(self, arrival: Arrival, element: Element, position: int) -> str:
        return f"{self.key}:{_sent(element)}:@{self._partition}:{arrival.record.offset}:{position}"

    # ------------------------------------------------------------------------------------------------------ findings

    def _overwritten(self, before: _Point, value: float, sensor: str) -> None:
        if before.value == value:
            # The same reading under two ids is one point.
            self.account.points.written -= 1
            return
        detail = f"{before.value} by {value}"
        self._find_point(Missing.OVERWRITTEN, before.record, [sensor], detail)

    def _find_point(self, missing: Missing, record: _Written, sensors: Iterable[str], detail: str = "") -> None:
        place = self._place(record.message) if record.message >= 0 else f"telemetry.clean {self._place(record.offset)}"
        self.account.find(Finding(missing, self.key, place, record.seq, record.event_us, list(sensors), detail))

    def _place(self, offset: int) -> str:
        return f"{self._partition}:{offset}"


def sensors_of(element: Element) -> list[str]:
    """An element's readings in the order of their indexes; a broken element is one reading of no sensor."""
    return [""] if element.broken is not None else sorted([*element.values, *(element.odd or ())])


def _sent(element: Element) -> object:
    return "-" if element.ts is None else element.ts


def _identity(element: Element, position: int) -> bytes:
    return blake2b(f"{element.ts}:{element.seq}:{position}".encode(), digest_size=8).digest()


def _time_of(element: Element, received_us: int) -> tuple[int | None, TimeSource | None]:
    try:
        return event_time(element.ts, received_us)
    except Poison:
        return None, None


def _count(counts: dict[str, int], reason: Reason) -> None:
    counts[reason] = counts.get(reason, 0) + 1
