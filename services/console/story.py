"""One reading's life as data, and as a person reads it. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.alarm import AlarmEvent
from schemas.anomaly import Anomaly
from schemas.dead_letter import DeadLetter
from schemas.telemetry import Aggregate, Clean, Score
from services.console.influx import Point
from services.console.times import iso
from services.console.wording import preview, printable, values


class RawPlace(msgspec.Struct, frozen=True):
    """Where the message stands in Kafka, as the bridge wrote it."""

    partition: int
    offset: int
    mqtt_topic: str
    redelivered: bool
    received_us: int
    size: int
    payload: bytes


class Story(msgspec.Struct, frozen=True):
    """All that was found. `clean` None: no reading of that time; `nearest_us` is then the event time of the nearest."""

    device: str
    at_us: int
    clean: Clean | None = None
    nearest_us: int | None = None
    others: int = 0
    """Further messages of the device with the same event time; `--seq` chooses among them."""
    raw: RawPlace | None = None
    score: Score | None = None
    windows: list[Aggregate] = []
    anomaly: Anomaly | None = None
    """Its latest record."""
    alarms: list[AlarmEvent] = []
    points: list[Point] = []
    influx_says: str = ""
    """Why InfluxDB could not be asked."""
    dead_letters: list[DeadLetter] = []
    """Of the same message, or, where there is no reading, of the device around that time."""


def to_json(story: Story) -> str:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(story), indent=2).decode()


def tell(story: Story) -> str:
    """The story in lines."""
    return "\n".join(printable(line) for line in _tell(story))


def _tell(story: Story) -> Iterator[str]:
    record = story.clean
    if record is None:
        yield f"{story.device} has no reading at {iso(story.at_us)}"
        if story.nearest_us is not None:
            yield f"  nearest     {iso(story.nearest_us)} (weir trace {story.device} --at {story.nearest_us})"
        yield from _dead_letters(story)
        return
    seq = "" if record.seq is None else f", seq {record.seq}"
    yield f"{story.device} at {iso(record.event_us)}{seq}"
    if story.others:
        yield f"  note        {story.others} more with this time; --seq chooses"
    yield from _raw(story)
    took = (
        f"{record.time_source} clock"
        if record.time_source == "device"
        else f"{record.time_source}: sent {record.sent_ts!r}"
    )
    marks = ("  late: stored, not learnt" if record.late else "") + (
        f"  stuck: {', '.join(record.stuck)}" if record.stuck else ""
    )
    yield f"  clean       {values(record.values)}{marks}"
    yield f"              {record.device_type} of site {record.site}, time by {took}, id {record.id}"
    yield from _windows(story.windows, late=record.late)
    yield from _score(story.score, late=record.late)
    yield from _anomaly(story)
    yield from _points(story)
    yield from _dead_letters(story)


def _raw(story: Story) -> Iterator[str]:
    if story.raw is None:
        yield "  raw         no longer in Kafka (retention)"
        return
    raw = story.raw
    again = ", sent again by the broker" if raw.redelivered else ""
    yield f"  MQTT        {raw.mqtt_topic}, received {iso(raw.received_us)}{again}"
    yield f"  Kafka       telemetry.raw partition {raw.partition} offset {raw.offset}, {raw.size} B"
    yield f"              {preview(raw.payload)}"


def _windows(windows: list[Aggregate], *, late: bool) -> Iterator[str]:
    if not windows:
        yield f"  windows     {'none: it came too late' if late else 'none closed yet'}"
    for number, window in enumerate(sorted(windows, key=lambda w: (w.sensor, w.width_us))):
        head = "windows" if number == 0 else ""
        state = " provisional" if window.provisional else f" revision {window.revision}" if window.revision else ""
        width = f"{window.width_us // 1_000_000} s"
        about = f"n {window.count}, mean {window.mean:.5g}, min {window.min:.5g}, max {window.max:.5g}"
        yield f"  {head:<11} {window.sensor} {width:>5} from {iso(window.start_us)}: {about}{state}"


def _score(score: Score | None, *, late: bool) -> Iterator[str]:
    if score is None:
        yield f"  score       {'none: late readings are not scored' if late else 'not found'}"
        return
    learns = f", learning {score.progress:.0%}" if score.state == "learning" else ""
    learns = ", paused: not scored" if score.state == "paused" else learns
    yield f"  score       {score.score:.3f} {score.severity}, alarm score {score.alarm_score:.3f}{learns}"
    for sensor, part in score.sensors.items():
        expected = ""
        if part.expected_low is not None and part.expected_high is not None:
            expected = f", expected {part.expected_low:.5g} to {part.expected_high:.5g}"
        yield f"              {sensor} {part.score:.3f}{expected}"


def _anomaly(story: Story) -> Iterator[str]:
    found = story.anomaly
    if found is None:
        yield "  anomaly     in none"
        return
    until = "still open" if found.end_us is None else f"to {iso(found.end_us)}"
    yield f"  anomaly     from {iso(found.opened_us)} {until}, {found.severity}, peak {found.peak:.2f}"
    yield f"              {found.sentence}"
    for alarm in story.alarms:
        yield f"  alarm       {alarm.phase} {iso(alarm.at_us)} by rule {alarm.rule}: {alarm.summary}"


def _points(story: Story) -> Iterator[str]:
    if story.influx_says:
        yield f"  InfluxDB    {story.influx_says}"
    elif not story.points:
        yield "  InfluxDB    no point yet: the sink has not come so far (`weir status`)"
    for number, point in enumerate(story.points):
        head = "InfluxDB" if number == 0 else ""
        sensor = point.tags.get("sensor", "(device)")
        fields = ", ".join(f"{name} {_number(value)}" for name, value in point.fields.items())
        yield f"  {head:<11} {point.bucket} {point.measurement} {sensor} @{point.time_ns}: {fields}"


def _dead_letters(story: Story) -> Iterator[str]:
    for letter in story.dead_letters:
        sensor = f" {letter.sensor}" if letter.sensor else ""
        where = f"{letter.topic} {letter.partition}:{letter.offset}"
        yield f"  dead letter {letter.reason} ({letter.stage}){sensor}, received {iso(letter.received_us)}, {where}"
        yield f"              {letter.detail} | {preview(letter.payload)}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
