"""The pure core: what one partition's records make of its devices' state, and what is published of it.

No Faust, Kafka, clock or thread in here: Faust, a plain loop, the tests and a back-test all run this. For each record,
in log order: decode, recognise repeats, repair the time, clean, aggregate, score, open and close anomalies.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from schemas import raw, topics
from schemas.reasons import Reason
from schemas.telemetry import TimeSource
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.routes import Placed, Rejected, Routes
from services.scoring.drift.device_watch import OF_DEVICE, HourMean
from services.scoring.severity import ALARM_LINE
from services.stream import anomalies, model_events, operator_commands
from services.stream.arrival import Arrival, RawRecord
from services.stream.clean import Cleaned, clean
from services.stream.clock_rules import event_time
from services.stream.dead_letters import dead_letter
from services.stream.decoders import Decoder, Element
from services.stream.decoders.json_payload import JsonDecoder
from services.stream.device import Device
from services.stream.device_table import NOTHING_STORED, DeviceTable, Restored, StateChange
from services.stream.device_types import DeviceTypes
from services.stream.elements import check_claims, check_size, sensors_of, tells_time
from services.stream.ledger import Ledger
from services.stream.oversight import paused_score
from services.stream.populations import POPULATION_KEY, Populations
from services.stream.priors import PRIORS_KEY, PartitionPriors
from services.stream.records import (
    aggregate_record,
    clean_record,
    gap_record,
    identity_of,
    ledger_record,
    score_record,
)
from services.stream.sensor_budget import SensorBudget
from services.stream.sequence import RangeChange, Seen
from services.stream.windows import ALLOWED_LATENESS_US, Emission, is_late

DECODERS: Final[Mapping[str, Decoder]] = {"json": JsonDecoder()}

# A member's name is looked up in its class each time.
_DEVICE: Final = TimeSource.DEVICE
_new: Final = tuple.__new__
"""Makes an `Output` at a third of what its own constructor takes."""


class Output(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes
    record: msgspec.Struct


class Budgets(NamedTuple):
    """How many devices and sensors there may be in a partition: of a tenant, of a device, and of all together."""

    devices_per_tenant: int = 10_000
    sensors_per_device: int = 64
    devices_per_partition: int = 20_000
    sensors_per_tenant: int = 25_000
    sensors_per_partition: int = 50_000


DEFAULT_BUDGETS: Final = Budgets()


class PartitionPipeline:
    """All devices of one partition.

    `process` must be given every record of the partition, in order; records at or below a device's applied offset are
    skipped, so that a replay after a crash changes nothing twice.

    Raises:
        ConfigurationError: A route names a decoder that does not exist.
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
        self.model_resets = 0
        """River models that broke and began anew."""
        if unknown := sorted({route.decoder for route in routes} - DECODERS.keys()):
            raise ConfigurationError(f"routes name unknown decoders {unknown}; known: {sorted(DECODERS)}")
        self._routes = routes
        self._sensors = SensorBudget(
            budgets.sensors_per_device, budgets.sensors_per_tenant, budgets.sensors_per_partition
        )
        populations = restored.starting_with(POPULATION_KEY)
        self._populations = Populations(populations)
        priors = restored.starting_with(PRIORS_KEY)
        self._priors = PartitionPriors(priors.values.get(PRIORS_KEY), is_stale=PRIORS_KEY in priors.stale)
        self._devices = DeviceTable(
            types,
            budgets.devices_per_tenant,
            budgets.devices_per_partition,
            restored=restored.without(populations).without(priors),
            totals=self.totals,
            sensors=self._sensors,
        )

    def __len__(self) -> int:
        """Devices known."""
        return len(self._devices)

    @property
    def models_rebuilt(self) -> int:
        """Devices whose models could not be read from their snapshot and learn anew."""
        return self._devices.models_rebuilt

    @property
    def populations_drifting(self) -> dict[str, int]:
        """By advised step, sensors of a tenant's device type that are distributed otherwise than they were."""
        return self._populations.drifting

    def process(self, batch: Iterable[RawRecord]) -> list[Output]:
        """Take records in log order; returns what is to be published, in order."""
        out: list[Output] = []
        find = self._devices.find
        totals = self.totals
        for record in batch:
            arrival = Arrival(record)
            if raw.OPERATOR_COMMAND in arrival.headers:
                self._command(arrival, out)
                continue
            offset, received_us = arrival.offset, arrival.received_us
            device, admitted = find(record.key, offset, received_us)
            if offset <= device.applied:
                self.skipped += 1
                continue
            device.applied = offset
            if received_us >= device.slot_end_us:
                self._begin_slot(device, received_us, out)
            device.ledger.received += 1
            totals.received += 1
            oversight = device.oversight
            if oversight.pauses or oversight.restarted:
                self._oversee(device, arrival, out)
            self._message(device, arrival, admitted=admitted, out=out)
        return out

    def take_changes(self) -> list[StateChange]:
        """The state that has changed since the last call, to be written before the offset is committed."""
        return [*self._populations.take_changes(), *self._priors.take_change(), *self._devices.take_changes()]

    def take_expired(self) -> list[bytes]:
        """Keys of state that is no longer needed; to be removed from the topic *after* the commit.

        A frozen worker that wakes up can then remove only what its successor has left behind too.
        """
        return self._devices.take_expired()

    def idle_windows(self, received_before_us: int, ended_before_us: int) -> list[Output]:
        """Open windows, ended by `ended_before_us`, of devices silent since `received_before_us`; each is shown once.

        The only place where the wall clock has a say: it may show, it never changes state.
        """
        out: list[Output] = []
        for device, shown_us in self._devices.silent(received_before_us, ended_before_us):
            self._aggregates(device, device.windows.still_open(shown_us, ended_before_us), out)
        return out

    def idle_ledgers(self, received_before_us: int) -> list[Output]:
        """Ledgers of devices silent since `received_before_us`; each as it stands once, as in `idle_windows`.

        The device's next message of another slot would publish the same under the same id.
        """
        return [self._ledger(device) for device in self._devices.silent_unshown(received_before_us)]

    # ----------------------------------------------------------------------------------------------------- messages

    def _begin_slot(self, device: Device, received_us: int, out: list[Output]) -> None:
        if device.received_us:
            out.append(self._ledger(device))
        device.begin_slot(received_us)

    def _ledger(self, device: Device) -> Output:
        device.ledger_shown = device.ledger.received
        return Output(topics.LEDGERS, device.key_bytes, ledger_record(self.partition, device))

    def _message(self, device: Device, arrival: Arrival, *, admitted: bool, out: list[Output]) -> None:
        received_us, headers = arrival.received_us, arrival.headers
        try:
            if received_us > device.received_us:
                device.received_us = received_us
            decoder = device.decoder
            if (
                decoder is None
                or headers.get(raw.MQTT_TOPIC) != device.topic
                or not admitted
                or not received_us
                or raw.REJECT in headers
            ):
                decoder = self._place(device, arrival, admitted=admitted)
            elements = decoder.decode(arrival.value)
            check_size(elements)
            if not self._is_repeat(device, arrival, elements):
                if len(elements) == 1:
                    self._only_element(device, arrival, elements[0], out)
                else:
                    self._elements(device, arrival, elements, out)
                return
        except Poison as poison:
            # Devices that were refused share this memory: the same bytes under another topic are no repeat.
            identity = arrival.mqtt_topic.encode() + b" " + arrival.value
            seen = device.recent_payloads.see(identity)
            if arrival.replay is not None or not (seen and arrival.is_marked_repeat):
                self._bury_message(device, arrival, poison, out)
                return
        device.ledger.redelivered += 1
        self.totals.redelivered += 1

    def _place(self, device: Device, arrival: Arrival, *, admitted: bool) -> Decoder:
        """What reads the message; the device remembers its topic where nothing is wrong with it."""
        device.decoder = None
        if not arrival.received_us:
            raise Poison(Reason.WRONG_SHAPE, "a raw record without the bridge's `received-at` header")
        placed = self._placed(arrival)
        if admitted and type(placed) is Placed and placed.site != device.site:
            device.move_to(placed.site)
        refusal = arrival.refusal
        if refusal is not None:
            raise refusal
        if isinstance(placed, Rejected):
            raise Poison(placed.reason, placed.detail)
        if not admitted:
            raise Poison(Reason.DEVICE_BUDGET, self._devices.why_refused(placed.tenant))
        device.topic = arrival.headers[raw.MQTT_TOPIC]
        device.decoder = decoder = DECODERS[placed.route.decoder]
        return decoder

    def _placed(self, arrival: Arrival) -> Placed | Rejected:
        placed = self._routes.place(arrival.mqtt_topic)
        if type(placed) is Placed and placed.key != arrival.record.key:
            return Rejected(Reason.UNROUTABLE, "the record's key is not that of the device its topic names")
        return placed

    def _is_repeat(self, device: Device, arrival: Arrival, elements: list[Element]) -> bool:
        """The same bytes again: with a time in them they are a repeat; without, only the broker can tell."""
        if arrival.replay is not None:
            return False
        if elements[0].seq is not None and (len(elements) == 1 or all(element.seq is not None for element in elements)):
            return False
        arrival.seen_before = device.recent_payloads.see(arrival.value)
        return arrival.seen_before and (
            arrival.is_marked_repeat or any(tells_time(element, arrival.received_us) for element in elements)
        )

    def _only_element(self, device: Device, arrival: Arrival, element: Element, out: list[Output]) -> None:
        """What `_elements` does, for a message that has but one."""
        mine, all_of_it = device.ledger, self.totals
        if not self._element(device, arrival, element, 0, 0, out):
            mine.redelivered += 1
            all_of_it.redelivered += 1
            return
        entries = element.entries
        mine.decoded += 1
        mine.readings_decoded += entries
        all_of_it.decoded += 1
        all_of_it.readings_decoded += entries

    def _elements(self, device: Device, arrival: Arrival, elements: list[Element], out: list[Output]) -> None:
        index = readings = repeated = repeated_readings = 0
        for position, element in enumerate(elements):
            entries = element.entries
            try:
                if self._element(device, arrival, element, position, index, out):
                    readings += entries
                else:
                    repeated += 1
                    repeated_readings += entries
            except Poison as poison:
                readings += entries
                for rank, sensor in enumerate(sensors_of(element)):
                    self._bury_reading(device, arrival, sensor, index + rank, poison.reason, poison.detail, out)
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

    # ---------------------------------------------------------------------------------------------- operator's hand

    def _command(self, arrival: Arrival, out: list[Output]) -> None:
        """An operator's command: no message, so that no ledger counts it."""
        record = arrival.record
        device = self._devices.known(record.key)
        owner = device or self._devices.unplaced()
        if record.offset <= owner.applied:
            self.skipped += 1
            return
        owner.applied = record.offset
        try:
            obeyed = operator_commands.obey(arrival, device, self.partition)
        except Poison as poison:
            out.append(Output(topics.DEAD_LETTER, *operator_commands.buried(self.partition, arrival, poison)))
            return
        out += [Output(topics.MODEL_EVENTS, owner.key_bytes, event) for event in obeyed.events]
        out += [Output(topics.ANOMALIES, owner.key_bytes, ended) for ended in obeyed.ended]

    def _oversee(self, device: Device, arrival: Arrival, out: list[Output]) -> None:
        """What is due for the models by the time of a message, before it is processed."""
        identity = model_events.of_record(device, self.partition, arrival.offset)
        if device.oversight.restarted:
            device.oversight.restarted = False
            event = model_events.learning_restarted(device, identity, arrival.received_us)
            out.append(Output(topics.MODEL_EVENTS, device.key_bytes, event))
        for name, until_us in device.oversight.end_pauses(arrival.received_us):
            event = model_events.resumed(device, identity, name, until_us, over=True)
            out.append(Output(topics.MODEL_EVENTS, device.key_bytes, event))

    # ----------------------------------------------------------------------------------------------------- elements

    def _element(
        self,
        device: Device,
        arrival: Arrival,
        element: Element,
        position: int,
        index: int,
        out: list[Output],
    ) -> bool:
        """One moment of the device; False when it was seen before. Raises Poison when nothing of it can be used."""
        replay, judged = arrival.replay, element
        if replay is not None:
            fresh = replay.fresh(element, index, sensors_of(element), device.recent_payloads)
            if fresh is None:
                return False
            judged = fresh
        if element.broken is not None:
            raise Poison(Reason.WRONG_SHAPE, element.broken)
        if element.claims is not None:
            check_claims(element.claims, device)
        bad_time: Poison | None = None
        received_us, offset, seq = arrival.received_us, arrival.offset, element.seq
        sequence = device.sequence
        try:
            event_us, source = event_time(element.ts, received_us)
        except Poison as poison:
            bad_time, event_us, source = poison, sequence.high_us, _DEVICE
        if seq is None or (source is _DEVICE and sequence.follows(seq, event_us)):
            seen = False
        else:
            seen = self._seen(device, arrival, seq, event_us, source, out)
        if bad_time is not None and arrival.seen_before is None:
            # Without a time a number alone is no identity: only the same bytes are the same reading.
            arrival.seen_before = device.recent_payloads.see(arrival.value)
        if seen and replay is None and (bad_time is None or arrival.seen_before):
            return False
        if bad_time is not None:
            raise bad_time
        newest_us = device.newest_us
        in_order = event_us >= newest_us
        cleaned = clean(
            device,
            judged,
            event_us,
            in_order=in_order,
            may_collide=seq is None and source is _DEVICE,
            budget=self._sensors,
        )
        if cleaned.rejected:
            ranks = {sensor: rank for rank, sensor in enumerate(sensors_of(element))}
            for sensor, reason, detail in cleaned.rejected:
                self._bury_reading(device, arrival, sensor, index + ranks[sensor], reason, detail, out)
        values = cleaned.values
        late = not in_order and is_late(event_us, newest_us)
        if late and not device.kind.accept_late:
            ranks = {sensor: rank for rank, sensor in enumerate(sensors_of(element))}
            for sensor in values:
                detail = "older than the correction horizon; the device type refuses late readings"
                self._bury_reading(device, arrival, sensor, index + ranks[sensor], Reason.LATE, detail, out)
            values = {}
        stored = len(values)
        device.ledger.readings_stored += stored
        self.totals.readings_stored += stored
        duplicates = cleaned.duplicates
        if replay is not None:
            duplicates += element.entries - len(judged.values) - len(judged.odd or ())
            entries = sensors_of(element)
            replay.remember([index + entries.index(sensor) for sensor in values], device.recent_payloads)
        if duplicates:
            device.ledger.readings_duplicates += duplicates
            self.totals.readings_duplicates += duplicates
        identity = identity_of(
            device, element, position, source, at=(self.partition, offset), replayed=replay is not None
        )
        if values:
            record = clean_record(
                device, identity, event_us, source, received_us, element, values, cleaned.stuck, late=late
            )
            out.append(_new(Output, (topics.CLEAN, device.key_bytes, record)))
        emitted: list[Emission] = []
        windows = device.windows
        if values and not late:
            windows.add(event_us, values, newest_us=newest_us, offset=offset, emitted=emitted)
        if event_us > newest_us:
            device.newest_us = event_us
            if event_us - ALLOWED_LATENESS_US >= windows.next_due_us:
                windows.close(event_us, offset, emitted)
            if sequence.holes:
                changes: list[RangeChange] = []
                sequence.due(event_us - ALLOWED_LATENESS_US, changes)
                out += [Output(topics.GAPS, device.key_bytes, gap_record(device, change)) for change in changes]
        if emitted:
            self._aggregates(device, emitted, out)
        if values and not late and (replay is None or replay.readings is None):
            # Part of a message would hide the score of the whole, which stands at the same time.
            self._score(device, identity, offset, event_us, seq, cleaned, out)
        return True

    def _seen(
        self, device: Device, arrival: Arrival, seq: int, event_us: int, source: TimeSource, out: list[Output]
    ) -> bool:
        changes: list[RangeChange] = []
        if source is _DEVICE:
            seen = device.sequence.see(seq, event_us, changes)
        else:
            # Without a clock of its own a device's repeat and its restarted counter look alike, but for the bytes.
            if arrival.seen_before is None:
                arrival.seen_before = device.recent_payloads.see(arrival.value)
            seen = device.sequence.see(seq, event_us, changes, clocked=False, repeated=arrival.seen_before)
        if changes:
            out += [Output(topics.GAPS, device.key_bytes, gap_record(device, change)) for change in changes]
        return seen is Seen.DUPLICATE

    def _score(
        self,
        device: Device,
        identity: str,
        offset: int,
        event_us: int,
        seq: int | None,
        cleaned: Cleaned,
        out: list[Output],
    ) -> None:
        older = cleaned.older
        values, oversight = cleaned.values, device.oversight
        if oversight.pauses:
            values = oversight.unpaused(values)
            if not values:
                scored = paused_score(device.scorer.progress)
                out.append(
                    Output(topics.SCORES, device.key_bytes, score_record(device, identity, event_us, seq, scored))
                )
                return
        prior = self._priors.of(device.kind.name, offset)
        scored = device.scorer.update(event_us, values, left_out=older, prior=prior)
        self.model_resets += scored.resets
        if scored.adopted:
            for sensor in scored.adopted:
                adoption = device.scorer.adoption(sensor)
                event = model_events.regime_adopted(device, identity, sensor, event_us, adoption)
                out.append(Output(topics.MODEL_EVENTS, device.key_bytes, event))
        record = score_record(device, identity, event_us, seq, scored)
        out.append(_new(Output, (topics.SCORES, device.key_bytes, record)))
        if not older and (device.anomaly is not None or record.alarm_score >= ALARM_LINE):
            device.anomaly, anomaly = anomalies.step(
                device.anomaly, scored, event_us, device.whose, device.scorer.culprits, device.closed_us
            )
            if anomaly is not None:
                if device.anomaly is None:
                    device.closed_us = event_us
                out.append(Output(topics.ANOMALIES, device.key_bytes, anomaly))
        watch = oversight.watch
        if event_us >= watch.due_us and not older:
            for hour in watch.look(event_us, values, record.score):
                self._end_hour(device, identity, offset, event_us, hour, out)

    def _end_hour(
        self, device: Device, identity: str, offset: int, event_us: int, hour: HourMean, out: list[Output]
    ) -> None:
        """An hour of a sensor, or of the device's score, is over: did it drift, or did the devices of its type?"""
        if hour.drift is not None:
            event = model_events.drifted(device, identity, hour.sensor, event_us, hour.drift)
            out.append(Output(topics.MODEL_EVENTS, device.key_bytes, event))
        if hour.sensor == OF_DEVICE:
            return
        whose = device.whose
        shift = self._populations.take(offset, (whose.tenant, whose.device_type, hour.sensor), hour.hour, hour.mean)
        if shift is not None:
            event = model_events.population_shifted(self.partition, whose, hour.sensor, event_us, shift)
            out.append(Output(topics.MODEL_EVENTS, topics.key_of(event.tenant, event.device).encode(), event))

    def _aggregates(self, device: Device, emitted: list[Emission], out: list[Output]) -> None:
        key = device.key_bytes
        out += [_new(Output, (topics.AGGREGATES, key, aggregate_record(device, one))) for one in emitted]

    # ------------------------------------------------------------------------------------------------- dead letters

    def _bury_message(self, device: Device, arrival: Arrival, poison: Poison, out: list[Output]) -> None:
        for ledger in (device.ledger, self.totals):
            ledger.dead_messages[poison.reason] = ledger.dead_messages.get(poison.reason, 0) + 1
        self._bury(device, arrival, poison.reason, poison.detail, 0, None, out)

    def _bury_reading(
        self,
        device: Device,
        arrival: Arrival,
        sensor: str,
        index: int,
        reason: Reason,
        detail: str,
        out: list[Output],
    ) -> None:
        for ledger in (device.ledger, self.totals):
            ledger.dead_readings[reason] = ledger.dead_readings.get(reason, 0) + 1
        self._bury(device, arrival, reason, detail, index, sensor, out)

    def _bury(
        self,
        device: Device,
        arrival: Arrival,
        reason: Reason,
        detail: str,
        index: int,
        sensor: str | None,
        out: list[Output],
    ) -> None:
        placed = self._placed(arrival)
        letter = dead_letter(
            self.partition, arrival, placed if type(placed) is Placed else None, reason, detail, index, sensor
        )
        arrival.buried += 1
        known = type(placed) is Placed or device.key_bytes != topics.UNPLACED_KEY
        key = arrival.record.key if known else topics.UNPLACED_KEY
        out.append(Output(topics.DEAD_LETTER, key, letter))
