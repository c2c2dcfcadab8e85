"""`weir trace`: finds one reading on every topic and in InfluxDB, and tells its life."""

import sys
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from schemas import influx as layout
from schemas import mqtt, topics
from schemas import raw as headers
from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.dead_letter import DeadLetter
from schemas.telemetry import Aggregate, Clean, Score
from services.console import ending, local_stack, story
from services.console.influx import Influx, Point
from services.console.records import Entry, Reader
from services.console.story import RawPlace, Story
from services.console.times import parse_time
from services.runtime import settings
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable
from services.runtime.settings import InfluxSettings, ToolSettings

R = TypeVar("R")

NEAR_US: Final = 1_000_000
"""A time that a person typed means the nearest reading within this: they may have left out the ms."""
_CLOCK_LEAD_US: Final = 360_000_000
"""A device's clock may run 5 min ahead: its readings are written so long before their event time."""
_SOON_US: Final = 900_000_000
"""What is made of a reading is written this soon after it, its 5 min window included."""
_DAY_US: Final = 86_400_000_000
_MOST_DEAD_LETTERS: Final = 10


def run(device: str, at: str, seq: int | None, *, as_json: bool) -> int:
    """Print the story; 0 where there is a reading, else 1."""
    tenant, slash, name = device.partition("/")
    if not (slash and mqtt.ID.fullmatch(tenant) and mqtt.ID.fullmatch(name)):
        raise ConfigurationError(f"{device!r}: give the device as tenant/device, for example demo/pump-01")
    at_us = parse_time(at)
    local_stack.adopt()
    told = settings.load(ToolSettings)
    reader = Reader(told.kafka)
    try:
        found = _search(reader, told.influx, device, at_us, seq)
    finally:
        reader.close()
    sys.stdout.write((story.to_json(found) if as_json else story.tell(found)) + "\n")
    return ExitCode.OK if found.clean is not None else ending.PROBLEM


def _search(reader: Reader, influx: InfluxSettings, key: str, at_us: int, seq: int | None) -> Story:
    written = reader.since(topics.CLEAN, at_us - _CLOCK_LEAD_US, key=key)
    entries = [entry for entry in written if isinstance(entry.record, Clean)]
    same = choose([entry.record for entry in entries], at_us, seq)
    if not same:
        around = reader.since(topics.DEAD_LETTER, at_us - _CLOCK_LEAD_US, key=key)
        return Story(
            device=key,
            at_us=at_us,
            nearest_us=min((e.record.event_us for e in entries), key=lambda us: abs(us - at_us), default=None),
            dead_letters=[e.record for e in around if _near(e.record, at_us)][:_MOST_DEAD_LETTERS],
        )
    clean = same[0]
    since_us = next(e.timestamp_ms for e in entries if e.record is clean) * 1000 - 1000
    raw = _raw(reader, key, clean)
    anomaly = belongs_to(_records(reader, topics.ANOMALIES, clean.event_us - _DAY_US, key, Anomaly), clean.event_us)
    points, influx_says = _points(influx, clean)
    return Story(
        device=key,
        at_us=at_us,
        clean=clean,
        others=len(same) - 1,
        raw=raw,
        score=next((s for s in _records(reader, topics.SCORES, since_us, key, Score) if s.id == clean.id), None),
        windows=windows_of(_until(reader.since(topics.AGGREGATES, since_us, key=key), since_us + _SOON_US), clean),
        anomaly=anomaly,
        alarms=[] if anomaly is None else _alarms(reader, key, anomaly),
        points=points,
        influx_says=influx_says,
        dead_letters=[] if raw is None else _of_message(reader, key, raw),
    )


def choose(records: Iterable[Clean], at_us: int, seq: int | None) -> list[Clean]:
    """The readings meant: those of the nearest event time within `NEAR_US`, of that `seq` where it is given.

    A repeat after a crash carries the same `id`, and counts once.
    """
    by_id = {record.id: record for record in records if seq is None or record.seq == seq}
    near = [record for record in by_id.values() if abs(record.event_us - at_us) <= NEAR_US]
    if not near:
        return []
    nearest_us = min((record.event_us for record in near), key=lambda us: abs(us - at_us))
    return [record for record in near if record.event_us == nearest_us]


def windows_of(aggregates: Iterable[Aggregate], clean: Clean) -> list[Aggregate]:
    """The latest record of each window that the reading is in."""
    found: dict[tuple[str, int], Aggregate] = {}
    if clean.late:
        return []
    for window in aggregates:
        if window.sensor in clean.values and window.start_us <= clean.event_us < window.start_us + window.width_us:
            known = found.get((window.sensor, window.width_us))
            if known is None or known.provisional or window.revision >= known.revision:
                found[window.sensor, window.width_us] = window
    return list(found.values())


def belongs_to(anomalies: Iterable[Anomaly], event_us: int) -> Anomaly | None:
    """The latest record of the anomaly that was open at that time."""
    latest: dict[str, Anomaly] = {}
    for record in anomalies:
        known = latest.get(record.anomaly)
        if known is None or record.revision >= known.revision:
            latest[record.anomaly] = record
    return next(
        (a for a in latest.values() if a.opened_us <= event_us and (a.end_us is None or event_us <= a.end_us)), None
    )


def _records(reader: Reader, topic: str, since_us: int, key: str, kind: type[R]) -> Iterator[R]:
    return (entry.record for entry in reader.since(topic, since_us, key=key) if isinstance(entry.record, kind))


def _until(entries: Iterable[Entry], until_us: int) -> Iterable[Aggregate]:
    for entry in entries:
        if entry.timestamp_ms * 1000 > until_us:
            return
        if isinstance(entry.record, Aggregate):
            yield entry.record


def _raw(reader: Reader, key: str, clean: Clean) -> RawPlace | None:
    for entry in reader.since(topics.RAW, clean.received_us - 1000, key=key):
        if entry.headers.get(headers.RECEIVED_AT) == str(clean.received_us):
            return RawPlace(
                partition=entry.partition,
                offset=entry.offset,
                mqtt_topic=entry.headers.get(headers.MQTT_TOPIC, ""),
                redelivered=entry.headers.get(headers.MQTT_DUP) == "1",
                received_us=clean.received_us,
                size=len(entry.value),
                payload=entry.value,
            )
    return None


def _alarms(reader: Reader, key: str, anomaly: Anomaly) -> list[AlarmEvent]:
    events = list(_records(reader, topics.ALERT_EVENTS, anomaly.opened_us - _CLOCK_LEAD_US, key, AlarmEvent))
    raised = {e.alarm for e in events if e.cause.startswith(f"{anomaly.anomaly}:")}
    return [e for e in {e.id: e for e in events}.values() if e.alarm in raised]


def _of_message(reader: Reader, key: str, raw: RawPlace) -> list[DeadLetter]:
    letters = _records(reader, topics.DEAD_LETTER, raw.received_us - 1000, key, DeadLetter)
    found = [
        x
        for x in letters
        if (x.partition, x.offset, x.received_us) == (raw.partition, raw.offset, raw.received_us)
        and x.replayed_us is None
    ]
    return found[:_MOST_DEAD_LETTERS]


def _near(letter: object, at_us: int) -> bool:
    return (
        isinstance(letter, DeadLetter)
        and letter.replayed_us is None
        and abs(letter.received_us - at_us) < _CLOCK_LEAD_US
    )


def _points(told: InfluxSettings, clean: Clean) -> tuple[list[Point], str]:
    client = Influx(told)
    device = f"\"tenant\" = '{clean.tenant}' AND \"device\" = '{clean.device}'"
    asked = [
        (told.bucket, layout.READINGS, layout.time_ns(clean.event_us, clean.seq)),
        (told.bucket, layout.SCORES, layout.time_ns(clean.event_us, clean.seq)),
    ]
    if not clean.late:
        for width_us, (bucket, measurement) in layout.WINDOW_MEASUREMENTS.items():
            there = told.bucket if bucket == layout.BUCKET else told.bucket_long
            asked.append((there, measurement, clean.event_us // width_us * width_us * 1000))
    try:
        return [
            point
            for bucket, measurement, time_ns in asked
            for point in client.points(
                # Nothing of this is free text: ids are checked, the rest are our names and numbers.
                bucket,
                f'SELECT * FROM "{measurement}" WHERE {device} AND time = {time_ns} GROUP BY *',  # noqa: S608 - as said above
            )
        ], ""
    except Unavailable as error:
        return [], str(error)
