"""Records -> InfluxDB line protocol. Pure; the one place that knows how a line is written.

Numbers are always floats, tags are only `tenant, site, device, sensor` (and `service, instance, topic, reason` of our
own metrics), times are ns. A number that is not finite is left out, and a line without a field is no line.
"""

import math
import re
import zlib
from typing import Final, NamedTuple

import msgspec

from schemas import influx
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.metrics import ServiceMetrics
from schemas.model_event import ModelEvent
from schemas.reasons import Reason
from schemas.telemetry import Aggregate, Clean, DeviceLedger, Gap, GapPhase, Score
from services.runtime.errors import Poison

# A float in its shortest form that reads back the same, as repr gives it, in a tenth of the time; "null" where there is
# none, or it is not finite.
_number = msgspec.json.Encoder().encode
_SPECIAL: Final = re.compile(r"[,= ]")
# InfluxDB has no way to write these: a line break ends the line, a backslash at the end escapes what follows.
_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f]|\\\Z")
_MOST_PREFIXES: Final = 100_000
"""With names as long as they may be: 70 MB."""


_Prefixes = dict[str | None, bytes]
"""Sensor -> beginning of its lines; None -> that of the device's own."""


class Lines(NamedTuple):
    """A record's lines, and the bucket (a name of `schemas.influx`) that they belong in."""

    bucket: str
    lines: list[bytes]


class LineEncoder:
    """Writes records as lines; keeps the escaped beginnings (measurement and tags) of the series it has met.

    Every method raises `Poison` (`sink_refused`) where a record can't be a point, whatever the database.
    """

    def __init__(self, most_prefixes: int = _MOST_PREFIXES) -> None:
        self._prefixes: dict[tuple[str, str, str, str], _Prefixes] = {}
        self._size = 0
        self._most = most_prefixes

    def clean(self, record: Clean) -> Lines:
        """One point for each reading."""
        prefixes = self._of_device(influx.READINGS, record.tenant, record.site, record.device)
        time = b" %d" % influx.time_ns(record.event_us, record.seq)
        lines = []
        for sensor, value in record.values.items():
            prefix = prefixes.get(sensor) or self._add(prefixes, sensor)
            number = _number(value)
            if number != b"null":
                lines.append(prefix + b" value=" + number + time)
        return Lines(influx.BUCKET, lines)

    def score(self, record: Score) -> Lines:
        """The device's own point, without tag `sensor`, and one for each sensor."""
        prefixes = self._of_device(influx.SCORES, record.tenant, record.site, record.device)
        time = b" %d" % influx.time_ns(record.event_us, record.seq)
        own = _present(b"score=%b,alarm_score=%b" % (_number(record.score), _number(record.alarm_score)))
        lines = [prefixes[None] + b" " + own + time] if own else []
        for sensor, part in record.sensors.items():
            prefix = prefixes.get(sensor) or self._add(prefixes, sensor)
            fields = _present(
                b"score=%b,alarm_score=%b,expected_low=%b,expected_high=%b"
                % (
                    _number(part.score),
                    _number(part.alarm_score),
                    _number(part.expected_low),
                    _number(part.expected_high),
                )
            )
            if fields:
                lines.append(prefix + b" " + fields + time)
        return Lines(influx.BUCKET, lines)

    def aggregate(self, record: Aggregate) -> Lines:
        """One point at the window's start; a corrected window overwrites it."""
        if record.width_us not in influx.WINDOW_MEASUREMENTS:
            raise Poison(Reason.SINK_REFUSED, f"no measurement for windows of {record.width_us} µs")
        bucket, measurement = influx.WINDOW_MEASUREMENTS[record.width_us]
        prefixes = self._of_device(measurement, record.tenant, record.site, record.device)
        prefix = prefixes.get(record.sensor) or self._add(prefixes, record.sensor)
        fields = _present(
            b"count=%d.0,mean=%b,std=%b,min=%b,max=%b,p50=%b,p95=%b,first=%b,last=%b"
            % (
                record.count,
                _number(record.mean),
                _number(record.std),
                _number(record.min),
                _number(record.max),
                _number(record.p50),
                _number(record.p95),
                _number(record.first),
                _number(record.last),
            )
        )
        return Lines(bucket, [b"%b %b %d" % (prefix, fields, record.start_us * 1000)])

    def anomaly(self, record: Anomaly) -> Lines:
        """One point at the opening, which later records of the same anomaly overwrite; `open` is 1 until it closes."""
        prefix = self._of_device(influx.ANOMALIES, record.tenant, record.site, record.device)[None]
        numbers = _present(
            b"open=%b,end_us=%b,peak=%b"
            % (
                b"0.0" if record.phase is AnomalyPhase.CLOSED else b"1.0",
                b"null" if record.end_us is None else b"%d.0" % record.end_us,
                _number(record.peak),
            )
        )
        texts = b"severity=%b,culprit=%b,sentence=%b" % (
            _text(record.severity),
            _text(record.culprit),
            _text(record.sentence),
        )
        return Lines(influx.BUCKET_LONG, [b"%b %b,%b %d" % (prefix, numbers, texts, record.opened_us * 1000)])

    def model_event(self, record: ModelEvent) -> Lines:
        """One point for each event; of a sensor, or (without tag `sensor`) of the device."""
        prefixes = self._of_device(influx.MODEL_EVENTS, record.tenant, record.site, record.device)
        prefix = prefixes[None]
        if record.sensor:
            prefix = prefixes.get(record.sensor) or self._add(prefixes, record.sensor)
        texts = {
            "kind": record.kind,
            "sentence": record.sentence,
            "device_type": record.device_type,
            "step": record.step,
            "test": record.test,
            "by": record.by,
            "reason": record.reason,
        }
        numbers = {
            "old_low": record.old_low,
            "old_high": record.old_high,
            "new_low": record.new_low,
            "new_high": record.new_high,
            "after_s": record.after_s,
            "statistic": record.statistic,
            "threshold": record.threshold,
            "until_us": None if record.until_us is None else float(record.until_us),
        }
        fields = [b"%b=%b" % (name.encode(), _text(text)) for name, text in texts.items() if text]
        fields += [b"%b=%b" % (name.encode(), _number(n)) for name, n in numbers.items() if _number(n) != b"null"]
        time = influx.model_event_time_ns(record.id, record.event_us)
        return Lines(influx.BUCKET_LONG, [b"%b %b %d" % (prefix, b",".join(fields), time)])

    def gap(self, record: Gap) -> Lines:
        """One point for each range. The sum of `missing` is what is missing still: what was filled counts below 0."""
        prefix = self._of_device(influx.GAPS, record.tenant, record.site, record.device)[None]
        count = record.last_seq - record.first_seq + 1
        counted = {
            GapPhase.MISSING: b"missing=%d.0" % count,
            GapPhase.WITHDRAWN: b"missing=-%d.0" % count,
            GapPhase.SEQ_JUMP: b"leapt=%d.0" % count,
        }[record.phase]
        time = influx.gap_time_ns(record.id, record.event_us)
        fields = (counted, record.first_seq, record.last_seq, time)
        return Lines(influx.BUCKET, [prefix + b" %b,first_seq=%d.0,last_seq=%d.0 %d" % fields])

    def ledger(self, record: DeviceLedger) -> Lines:
        """One point at the time of the last message that it counts."""
        prefix = self._of_device(influx.LEDGER, record.tenant, record.site, record.device)[None]
        fields = {
            "received": record.received,
            "decoded": record.decoded,
            "redelivered": record.redelivered,
            "dead_messages": sum(record.dead_messages.values()),
            "missing_messages": record.missing_messages,
            "readings_decoded": record.readings_decoded,
            "readings_stored": record.readings_stored,
            "readings_duplicates": record.readings_duplicates,
            "dead_readings": sum(record.dead_readings.values()),
            "missing_readings": record.missing_readings,
        }
        written = ",".join(f"{name}={count}.0" for name, count in fields.items())
        return Lines(influx.BUCKET, [b"%b %b %d" % (prefix, written.encode(), record.received_us * 1000)])

    def metrics(self, record: ServiceMetrics) -> Lines:
        """One point for each group of metrics that share their tags.

        The process is a tag by its name; what it is after a restart moves the time within the microsecond, so that
        processes without names of their own do not overwrite each other.
        """
        time = record.at_us * 1000 + zlib.crc32(record.instance.encode()) % 1000
        lines: list[bytes] = []
        for point in record.points:
            tags = (
                ("service", record.service),
                ("instance", record.name),
                ("topic", point.topic),
                ("reason", point.reason),
            )
            written = "".join(f",{name}={_tag(value)}" for name, value in tags if value)
            fields = b",".join(
                b"%b=%b" % (_tag(name).encode(), _number(value))
                for name, value in point.fields.items()
                if math.isfinite(value)
            )
            if fields:
                lines.append(b"%b %b %d" % ((influx.PIPELINE + written).encode(), fields, time))
        return Lines(influx.BUCKET, lines)

    def _of_device(self, measurement: str, tenant: str, site: str, device: str) -> _Prefixes:
        """The beginnings of a device's lines."""
        key = (measurement, tenant, site, device)
        prefixes = self._prefixes.get(key)
        if prefixes is None:
            if self._size >= self._most:
                self._prefixes.clear()
                self._size = 0
            own = f"{measurement},tenant={_tag(tenant)},site={_tag(site)},device={_tag(device)}"
            prefixes = self._prefixes[key] = {None: own.encode()}
            self._size += 1
        return prefixes

    def _add(self, prefixes: _Prefixes, sensor: str) -> bytes:
        prefix = prefixes[None] + b",sensor=" + _tag(sensor).encode()
        if self._size < self._most:
            prefixes[sensor] = prefix
            self._size += 1
        return prefix


def _present(numbers: bytes) -> bytes:
    """Those fields that have a value."""
    if b"=null" not in numbers:
        return numbers
    return b",".join(field for field in numbers.split(b",") if not field.endswith(b"=null"))


def _tag(value: str) -> str:
    """A tag's value, or a field's name, escaped."""
    if not value or _UNWRITABLE.search(value):
        raise Poison(Reason.SINK_REFUSED, f"{value!r} can't be a tag in InfluxDB")
    return _SPECIAL.sub(r"\\\g<0>", value)


def _text(value: str) -> bytes:
    """A text field's value, escaped and quoted."""
    return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
