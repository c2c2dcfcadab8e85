"""The pure core: what one partition's records make of its devices' state, and what is published of it.

No Faust, Kafka, clock or thread in here: Faust, a plain loop, the tests and a back-test all run this. For each record,
in log order: decode, recognise repeats, repair the time, clean, aggregate, score, open and close anomalies.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from schemas import raw, topics
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage
from schemas.telemetry import Aggregate, Clean, Gap, GapPhase, Score, TimeSource
from services.runtime.errors import Poison
from services.runtime.routes import Placed, Rejected, Routes
from services.stream import anomalies
from services.stream.clean import clean
from services.stream.clock_rules import event_time
from services.stream.decoders import Decoder, Element
from services.stream.decoders.json_payload import JsonDecoder
from services.stream.device import Device
from services.stream.device_table import NOTHING_STORED, DeviceTable, Restored, StateChange
from services.stream.device_types import DeviceTypes
from services.stream.ledger import Ledger
from services.stream.sequence import RangeChange, Seen
from services.stream.windows import ALLOWED_LATENESS_US, HORIZON_US, Emission

DECODERS: Final[Mapping[str, Decoder]] = {"json": JsonDecoder()}


class RawRecord(NamedTuple):
    """One record of telemetry.raw; see `schemas.raw` for the headers."""

    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


class Output(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes
    record: msgspec.Struct


class Budgets(NamedTuple):
    """What a tenant may use: devices per partition, sensors per device."""

    devices_per_tenant: int = 100_000
    sensors_per_device: int = 64


DEFAULT_BUDGETS: Final = Budgets()


class PartitionPipeline:
    """All devices of one partition.

    `process` must be given every record of the partition, in order; records at or below a device's applied offset are
    skipped, so that a replay after a crash changes nothing twice.
    """

    def __init__(
        self,
        partition: int,
        routes: Routes,
        types: DeviceTypes,
        budgets: Budgets = DEFAULT_BUDGETS,
        restored: Restored = NOTHING_STORED,
    ) -> None:
        self.partition = partition
        self.totals = Ledger()
        """Sums over all devices of the partition."""
        self.skipped = 0
        """Records that were replayed after a crash and changed nothing."""
        self._routes = routes
        self._budgets = budgets
        self._devices = DeviceTable(types, budgets.devices_per_tenant, restored, self.totals)

    def __len__(self) -> int:
        """Devices known."""
        return len(self._devices)

    @property
    def models_rebuilt(self) -> int:
        """Devices whose models could not be read from their snapshot and learn anew."""
        return self._devices.models_rebuilt

    def process(self, batch: Iterable[RawRecord]) -> list[Output]:
        """Take records in log order; returns what is to be published, in order."""
        out: list[Output] = []
        find = self._devices.find
        for record in batch:
            device, admitted = find(record.key, record.offset)
            if record.offset <= device.applied:
                self.skipped += 1
                continue
            device.applied = record.offset
            device.ledger.received += 1
            self.totals.received += 1
            self._message(device, record, admitted=admitted, out=out)
        return out

    def take_changes(self) -> list[StateChange]:
        """The state that has changed since the last call, to be written before the offset is committed."""
        return self._devices.take_changes()

    def take_expired(self) -> list[bytes]:
        """Keys of state that is no longer needed; to be removed from the topic *after* the commit.

        A frozen worker that wakes up can then remove only what its successor has left behind too.
        """
        return self._devices.take_expired()

    def idle_windows(self, received_before_us: int, ended_before_us: int) -> list[Output]:
        """Open windows, ended before `ended_before_us`, of devices silent since `received_before_us`; shown once.

        The only place where the wall clock has a say: it may show, it never changes state.
        """
        out: list[Output] = []
        for device in self._devices.newly_silent(received_before_us):
            self._aggregates(device, device.windows.still_open(ended_before_us), out)
        return out

    # ----------------------------------------------------------------------------------------------------- messages

    def _message(self, device: Device, record: RawRecord, *, admitted: bool, out: list[Output]) -> None:
        try:
            received_us = _received(record)
            if received_us > device.received_us:
                device.received_us = received_us
            placed = self._place(device, record)
            self._check_budget(admitted=admitted)
            elements = DECODERS[placed.route.decoder].decode(record.value)
        except Poison as poison:
            if record.headers.get(raw.MQTT_DUP) == b"1" and device.recent_payloads.see(record.value):
                device.ledger.redelivered += 1
                self.totals.redelivered += 1
            else:
                self._bury_message(device, record, poison, out)
            return
        # The same bytes again: with a time in them they are a repeat; without, only the broker can tell.
        first = elements[0]
        if (
            first.seq is None
            and device.recent_payloads.see(record.value)
            and (first.ts is not None or record.headers.get(raw.MQTT_DUP) == b"1")
        ):
            device.ledger.redelivered += 1
            self.totals.redelivered += 1
            return
        self._elements(device, record, elements, received_us, out)

    def _place(self, device: Device, record: RawRecord) -> Placed:
        reject = record.headers.get(raw.REJECT)
        if reject is not None:
            detail = record.headers.get(raw.REJECT_DETAIL, b"").decode("utf-8", "replace")
            raise Poison(Reason(reject.decode("ascii", "replace")), detail)
        placed = self._routes.place(record.headers.get(raw.MQTT_TOPIC, b"").decode("utf-8", "replace"))
        if isinstance(placed, Rejected):
            raise Poison(placed.reason, placed.detail)
        if placed.key != record.key:
            raise Poison(Reason.UNROUTABLE, "the record's key is not that of the device its topic names")
        if placed.site != device.site:
            device.move_to(placed.site)
        return placed

    def _check_budget(self, *, admitted: bool) -> None:
        if not admitted:
            raise Poison(Reason.DEVICE_BUDGET, f"the tenant has {self._budgets.devices_per_tenant} devices already")

    def _elements(
        self, device: Device, record: RawRecord, elements: list[Element], received_us: int, out: list[Output]
    ) -> None:
        index = readings = repeated = repeated_readings = 0
        for position, element in enumerate(elements):
            entries = element.entries
            try:
                if self._element(device, record, element, position, index, received_us, out):
                    readings += entries
                else:
                    repeated += 1
                    repeated_readings += entries
            except Poison as poison:
                if len(elements) == 1:
                    self._bury_message(device, record, poison, out)
                    return
                readings += entries
                for offset, sensor in enumerate(_entries(element)):
                    self._bury_reading(device, record, sensor, index + offset, poison.reason, poison.detail, out)
            index += entries
        mine, all_of_it = device.ledger, self.totals
        if repeated == len(elements):
            mine.redelivered += 1
            all_of_it.redelivered += 1
            return
        readings += repeated_readings
        mine.decoded += 1
        mine.readings_decoded += readings
        mine.readings_duplicates += repeated_readings
        all_of_it.decoded += 1
        all_of_it.readings_decoded += readings
        all_of_it.readings_duplicates += repeated_readings

    # ----------------------------------------------------------------------------------------------------- elements

    def _element(
        self,
        device: Device,
        record: RawRecord,
        element: Element,
        position: int,
        index: int,
        received_us: int,
        out: list[Output],
    ) -> bool:
        """One moment of the device; False when it was seen before. Raises Poison when nothing of it can be used."""
        if element.broken is not None:
            raise Poison(Reason.WRONG_SHAPE, element.broken)
        if element.claims is not None:
            _check_claims(element.claims, device)
        bad_time: Poison | None = None
        try:
            event_us, source = event_time(element.ts, received_us)
        except Poison as poison:
            bad_time, event_us, source = poison, device.sequence.high_us, TimeSource.DEVICE
        if element.seq is not None and self._seen(device, record, element.seq, event_us, source, out):
            return False
        if bad_time is not None:
            raise bad_time
        newest_us = device.newest_us
        in_order = event_us >= newest_us
        cleaned = clean(
            device,
            element,
            event_us,
            in_order=in_order,
            may_collide=element.seq is None and source is TimeSource.DEVICE,
            sensor_budget=self._budgets.sensors_per_device,
        )
        for rejected in cleaned.rejected:
            sensor, rank, reason, detail = rejected
            self._bury_reading(device, record, sensor, index + rank, reason, detail, out)
        values = cleaned.values
        late = not in_order and is_late(event_us, newest_us)
        if late and not device.kind.accept_late:
            ranks = {sensor: rank for rank, sensor in enumerate(_entries(element))}
            for sensor in values:
                detail = "older than the correction horizon; the device type refuses late readings"
                self._bury_reading(device, record, sensor, index + ranks[sensor], Reason.LATE, detail, out)
            values = {}
        device.ledger.readings_stored += len(values)
        self.totals.readings_stored += len(values)
        if cleaned.duplicates:
            device.ledger.readings_duplicates += cleaned.duplicates
            self.totals.readings_duplicates += cleaned.duplicates
        identity = _identity(device.key, self.partition, record.offset, element, position)
        if values:
            out.append(
                Output(
                    topics.CLEAN,
                    device.key_bytes,
                    Clean(
                        id=identity,
                        tenant=device.whose.tenant,
                        site=device.site,
                        device=device.whose.device,
                        device_type=device.whose.device_type,
                        event_us=event_us,
                        received_us=received_us,
                        time_source=source,
                        sent_ts=element.ts,
                        seq=element.seq,
                        values=values,
                        late=late,
                        stuck=cleaned.stuck,
                    ),
                )
            )
        emitted: list[Emission] = []
        windows = device.windows
        if values and not late:
            windows.add(event_us, values, newest_us=newest_us, offset=record.offset, emitted=emitted)
        if event_us > newest_us:
            device.newest_us = event_us
            if event_us - ALLOWED_LATENESS_US >= windows.next_close_us:
                windows.close(event_us, record.offset, emitted)
            if device.sequence.holes:
                changes: list[RangeChange] = []
                device.sequence.due(event_us - ALLOWED_LATENESS_US, changes)
                _gaps(device, changes, out)
        if emitted:
            self._aggregates(device, emitted, out)
        if values and not late:
            self._score(device, identity, event_us, element.seq, values, cleaned.stuck, in_order=in_order, out=out)
        return True

    def _seen(
        self, device: Device, record: RawRecord, seq: int, event_us: int, source: TimeSource, out: list[Output]
    ) -> bool:
        # Without a clock of its own a device's repeat and its restarted counter look alike, but for the bytes.
        repeated = source is not TimeSource.DEVICE and device.recent_payloads.see(record.value)
        changes: list[RangeChange] = []
        seen = device.sequence.see(seq, event_us, repeated=repeated, changes=changes)
        if changes:
            _gaps(device, changes, out)
        return seen is Seen.DUPLICATE

    def _score(
        self,
        device: Device,
        identity: str,
        event_us: int,
        seq: int | None,
        values: dict[str, float],
        stuck: list[str],
        *,
        in_order: bool,
        out: list[Output],
    ) -> None:
        scored = device.scorer.update(event_us, values, learn=in_order, stuck=stuck)
        out.append(
            Output(
                topics.SCORES,
                device.key_bytes,
                Score(
                    id=identity,
                    tenant=device.whose.tenant,
                    site=device.site,
                    device=device.whose.device,
                    event_us=event_us,
                    seq=seq,
                    score=scored.score,
                    alarm_score=scored.alarm_score,
                    severity=scored.severity,
                    state=scored.state,
                    progress=scored.progress,
                    sensors=scored.sensors,
                ),
            )
        )
        if in_order and (device.anomaly is not None or scored.alarm_score >= anomalies.LINE):
            device.anomaly, anomaly = anomalies.step(
                device.anomaly, scored, event_us, device.whose, device.scorer.culprits
            )
            if anomaly is not None:
                out.append(Output(topics.ANOMALIES, device.key_bytes, anomaly))

    def _aggregates(self, device: Device, emitted: list[Emission], out: list[Output]) -> None:
        whose = device.whose
        for sensor, width_us, start_us, window, provisional in emitted:
            p50, p95 = window.quantiles.at(0.5, 0.95)
            version = f"p{window.count}" if provisional else str(window.revision)
            out.append(
                Output(
                    topics.AGGREGATES,
                    device.key_bytes,
                    Aggregate(
                        id=f"{device.key}:{sensor}:{width_us // 1_000_000}s:{start_us}:{version}",
                        tenant=whose.tenant,
                        site=device.site,
                        device=whose.device,
                        sensor=sensor,
                        start_us=start_us,
                        width_us=width_us,
                        count=window.count,
                        mean=window.mean,
                        std=window.std,
                        min=window.low,
                        max=window.high,
                        p50=p50,
                        p95=p95,
                        first=window.first,
                        last=window.last,
                        revision=window.revision,
                        provisional=provisional,
                    ),
                )
            )

    # ------------------------------------------------------------------------------------------------- dead letters

    def _bury_message(self, device: Device, record: RawRecord, poison: Poison, out: list[Output]) -> None:
        for ledger in (device.ledger, self.totals):
            ledger.dead_messages[poison.reason] = ledger.dead_messages.get(poison.reason, 0) + 1
        rejected_by_bridge = raw.REJECT in record.headers
        stage = Stage.BRIDGE if rejected_by_bridge else Stage.DECODE
        out.append(_dead_letter(self.partition, device, record, stage, poison.reason, poison.detail, 0, None))

    def _bury_reading(
        self,
        device: Device,
        record: RawRecord,
        sensor: str,
        index: int,
        reason: Reason,
        detail: str,
        out: list[Output],
    ) -> None:
        for ledger in (device.ledger, self.totals):
            ledger.dead_readings[reason] = ledger.dead_readings.get(reason, 0) + 1
        out.append(_dead_letter(self.partition, device, record, Stage.CLEAN, reason, detail, index, sensor))


def is_late(event_us: int, newest_us: int) -> bool:
    """Whether no window takes a reading any more, not even as a correction."""
    watermark_us = newest_us - ALLOWED_LATENESS_US
    return all(event_us - event_us % width + width + horizon <= watermark_us for width, horizon in HORIZON_US.items())


def _received(record: RawRecord) -> int:
    try:
        return int(record.headers[raw.RECEIVED_AT])
    except (KeyError, ValueError):
        raise Poison(Reason.WRONG_SHAPE, "a raw record without the bridge's `received-at` header") from None


def _identity(key: str, partition: int, offset: int, element: Element, position: int) -> str:
    sent = "-" if element.ts is None else element.ts
    if element.seq is None:
        # Messages about other sensors may share a time; where a record stands in the log tells them apart.
        return f"{key}:{sent}:@{partition}:{offset}:{position}"
    return f"{key}:{sent}:{element.seq}:{position}"


def _entries(element: Element) -> list[str]:
    return sorted([*element.values, *(element.odd or ())]) or [""]


def _check_claims(claims: Mapping[str, object], device: Device) -> None:
    whose = device.whose
    true = {"tenant": whose.tenant, "site": device.site, "device": whose.device}
    for name, claim in claims.items():
        if claim != true[name]:
            raise Poison(Reason.IDENTITY_MISMATCH, f"the payload says {name} {claim!r:.80}, the topic {true[name]!r}")


def _gaps(device: Device, changes: list[RangeChange], out: list[Output]) -> None:
    for epoch, first, last, missing, jump in (msgspec.structs.astuple(change) for change in changes):
        phase = GapPhase.SEQ_JUMP if jump else GapPhase.MISSING if missing else GapPhase.WITHDRAWN
        out.append(
            Output(
                topics.GAPS,
                device.key_bytes,
                Gap(
                    id=f"{device.key}:{epoch}:{first}-{last}:{phase}",
                    tenant=device.whose.tenant,
                    site=device.site,
                    device=device.whose.device,
                    epoch=epoch,
                    first_seq=first,
                    last_seq=last,
                    phase=phase,
                    event_us=device.newest_us,
                ),
            )
        )


def _dead_letter(
    partition: int,
    device: Device,
    record: RawRecord,
    stage: Stage,
    reason: Reason,
    detail: str,
    index: int,
    sensor: str | None,
) -> Output:
    headers = record.headers
    placed = "$" not in device.key
    letter = DeadLetter(
        id=f"{partition}:{record.offset}:{index}",
        reason=reason,
        stage=stage,
        detail=detail,
        payload=record.value,
        size=int(headers.get(raw.SIZE, b"%d" % len(record.value))),
        mqtt_topic=headers.get(raw.MQTT_TOPIC, b"").decode("utf-8", "replace"),
        topic=topics.RAW,
        partition=partition,
        offset=record.offset,
        index=index,
        received_us=device.received_us,
        tenant=device.whose.tenant if placed else None,
        site=device.site if placed else None,
        device=device.whose.device if placed else None,
        sensor=sensor,
        sha256=headers[raw.SHA256].decode() if raw.SHA256 in headers else None,
    )
    return Output(topics.DEAD_LETTER, record.key, letter)
