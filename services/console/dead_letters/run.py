"""`weir dead-letter list | show | replay`: reads the topic, prints, and sends again what a person chose."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from schemas import topics
from schemas.dead_letter import DeadLetter
from services.console import ending
from services.console.dead_letters import view
from services.console.dead_letters.letters import Choice, Held, Letters, Name, name_of
from services.console.dead_letters.planning import Kept, Place, Resend, place_of, plan
from services.console.log_slices import LogSlices, Slice, opened_log
from services.console.records import kafka_answers
from services.runtime import kafka
from services.runtime.clock import now_us
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable
from services.runtime.routes import load_routes
from services.runtime.settings import ToolSettings
from services.stream.arrival import RawRecord

MOST_REPLAYED: Final = 10_000
"""Dead letters of one replay: they are held in memory."""
_NEAR: Final = 5000
"""Offsets on telemetry.raw that are read over rather than sought past."""
_DELIVERY_S: Final = 30.0

_decode = msgspec.json.Decoder(DeadLetter).decode
_encode = msgspec.json.Encoder().encode


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `weir dead-letter replay` is told: ids, or a choice."""

    ids: tuple[str, ...] = ()
    choice: Choice = Choice()
    again: bool = False
    dry_run: bool = False
    yes: bool = False


class _Topic:
    """telemetry.dead-letter as Kafka holds it."""

    def __init__(self, told: ToolSettings, log: LogSlices) -> None:
        self._prefix = told.kafka.topic_prefix
        self._log = log

    def read(self, choice: Choice, partitions: Iterable[int], most: int) -> Letters:
        """The letters of a choice; all counted, the last `most` of each partition held."""
        letters = Letters(choice, most)
        there = self._log.bounds(topics.DEAD_LETTER, partitions)
        since, until = choice.since_us, choice.until_us
        firsts = {} if since is None else self._log.offsets_at(topics.DEAD_LETTER, since, there)
        ends = {} if until is None else self._log.offsets_at(topics.DEAD_LETTER, until, there)
        for partition, all_ in there.items():
            end = ends.get(partition, all_.end)
            for letter, written_us, key in self._records(partition, Slice(firsts.get(partition, all_.first), all_.end)):
                # Marks of a replay come later than their letters, and count whenever they came.
                if letter.replayed_us is not None or end == all_.end or written_us < (until or 0):
                    letters.take(letter, written_us, key)
        return letters

    def of_message(self, name: Name) -> list[Held]:
        """All letters of the message (or record) that an id names."""
        since_us = self._message_written_us(name)
        letters = Letters(Choice(), MOST_REPLAYED)
        there = self._log.bounds(topics.DEAD_LETTER, [name.partition])
        firsts = {} if since_us is None else self._log.offsets_at(topics.DEAD_LETTER, since_us - 1000, there)
        all_ = there[name.partition]
        for letter, written_us, key in self._records(
            name.partition, Slice(firsts.get(name.partition, all_.first), all_.end)
        ):
            if place_of(letter) == (name.topic, name.partition, name.offset):
                letters.take(letter, written_us, key)
        return letters.last()

    def _message_written_us(self, name: Name) -> int | None:
        """When the message was written, which its letters come after; None where it is gone."""
        there = self._log.bounds(name.topic, [name.partition])[name.partition]
        if not there.first <= name.offset < there.end:
            return None
        return self._log.written_us(name.topic, name.partition, Slice(name.offset, name.offset + 1))

    def _records(self, partition: int, slice_: Slice) -> Iterator[tuple[DeadLetter, int, str]]:
        for message in self._log.read(topics.DEAD_LETTER, partition, slice_):
            letter = _decode(message.value() or b"")
            if self._prefix and letter.topic.startswith(self._prefix):
                letter = msgspec.structs.replace(letter, topic=letter.topic.removeprefix(self._prefix))
            yield letter, message.timestamp()[1] * 1000, (message.key() or b"").decode(errors="replace")


def list_(choice: Choice, last: int, *, as_json: bool) -> int:
    """Print the counts and the last letters of a choice."""
    with opened_log() as (told, log):
        letters = _Topic(told, log).read(choice, log.partitions(topics.DEAD_LETTER), last)
    found = letters.last()
    sys.stdout.write((view.listed_json if as_json else view.listed)(letters, found) + "\n")
    return ExitCode.OK


def show(letter_id: str, *, as_json: bool) -> int:
    """Print all of one letter; 1 where there is none with this id (any more)."""
    with opened_log() as (told, log):
        found = _Topic(told, log).of_message(_name(letter_id, log, told))
    by_id = {held.letter.id: held for held in found}
    held = by_id.pop(letter_id, None)
    if held is None:
        sys.stderr.write(f"weir: there is no dead letter {letter_id} (kept 30 days; `weir dead-letter list`)\n")
        return ending.PROBLEM
    others = list(by_id.values())
    held.letter = _with_payload(held.letter, others)
    sys.stdout.write((view.shown_json if as_json else view.shown)(held, others) + "\n")
    return ExitCode.OK


def replay(options: ReplayOptions) -> int:
    """Send the chosen letters' messages again; 1 where some could not be."""
    with opened_log() as (told, log):
        chosen = _chosen(options, told, log)
        routes = load_routes(told.stream.routes_file or told.bridge.routes_file)
        sent, kept = plan(chosen, _originals(log, chosen), routes, again=options.again)
        if options.dry_run or not sent:
            sys.stdout.write(view.planned(sent, kept, done=False) + "\n")
            return ending.PROBLEM if _is_refused(options, sent, kept) else ExitCode.OK
        if not options.yes:
            sys.stdout.write(view.planned(sent, kept, done=False) + "\n")
            if not _agreed():
                return ExitCode.OK
        _send(told, sent)
    sys.stdout.write(view.planned(sent, kept, done=True) + "\n")
    return ending.PROBLEM if _is_refused(options, sent, kept) else ExitCode.OK


def _is_refused(options: ReplayOptions, sent: list[Resend], kept: list[Kept]) -> bool:
    # A choice passes over what was replayed before; a letter that was named is refused.
    return bool(kept) and (bool(options.ids) or not sent)


def _chosen(options: ReplayOptions, told: ToolSettings, log: LogSlices) -> list[Held]:
    topic = _Topic(told, log)
    if options.ids and options.choice != Choice():
        raise ConfigurationError("give ids, or --reason, --stage, --device, --since, --until; not both")
    if not options.ids:
        if options.choice == Choice():
            raise ConfigurationError(
                "say which: ids, or --reason, --stage, --device, --since (`weir dead-letter list`)"
            )
        letters = topic.read(options.choice, log.partitions(topics.DEAD_LETTER), MOST_REPLAYED)
        if letters.total > MOST_REPLAYED:
            raise ConfigurationError(
                f"{letters.total:,} dead letters; at most {MOST_REPLAYED:,} at once: narrow them by --since and --until"
            )
        return letters.last()
    chosen = []
    for letter_id in dict.fromkeys(options.ids):
        found = topic.of_message(_name(letter_id, log, told))
        held = next((one for one in found if one.letter.id == letter_id), None)
        if held is None:
            raise ConfigurationError(f"there is no dead letter {letter_id} (kept 30 days); see `weir dead-letter list`")
        held.letter = _with_payload(held.letter, found)
        chosen.append(held)
    return chosen


def _originals(log: LogSlices, chosen: list[Held]) -> Mapping[Place, RawRecord]:
    """The messages as the bridge wrote them, with their headers, where telemetry.raw still has them."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for held in chosen:
        if held.letter.topic == topics.RAW:
            wanted[held.letter.partition].add(held.letter.offset)
    found: dict[Place, RawRecord] = {}
    for partition, there in log.bounds(topics.RAW, wanted).items():
        for part in _parts(sorted(offset for offset in wanted[partition] if there.first <= offset < there.end)):
            for message in log.read(topics.RAW, partition, part):
                offset = message.offset() or 0
                if offset in wanted[partition]:
                    headers: Any = message.headers()
                    found[topics.RAW, partition, offset] = RawRecord(
                        offset, message.key() or b"", message.value() or b"", dict(headers or ())
                    )
    return found


def _parts(offsets: list[int]) -> Iterator[Slice]:
    """Slices that hold all offsets, without long stretches of others."""
    start = 0
    for at in range(1, len(offsets) + 1):
        if at == len(offsets) or offsets[at] - offsets[at - 1] > _NEAR:
            yield Slice(offsets[start], offsets[at - 1] + 1)
            start = at


def _send(told: ToolSettings, sent: list[Resend]) -> None:
    """Messages first, then the marks: a kill between them leaves letters that look as if never replayed.

    Replayed again they change nothing: the stream knows what it has let through.
    """
    producer = kafka.producer(told.kafka)
    prefix = told.kafka.topic_prefix
    with kafka_answers(told.kafka):
        for record in sent:
            producer.produce(prefix + record.topic, record.value, record.key, headers=list(record.headers))
        _deliver(producer, told)
        at_us = now_us()
        for record in sent:
            for held in record.letters:
                letter = held.letter
                topic = letter.topic if letter.topic == topics.RAW else prefix + letter.topic
                mark = msgspec.structs.replace(letter, topic=topic, payload=b"", replayed_us=at_us)
                producer.produce(prefix + topics.DEAD_LETTER, _encode(mark), held.key.encode(), letter.partition)
        _deliver(producer, told)


def _deliver(producer: Producer, told: ToolSettings) -> None:
    if producer.flush(_DELIVERY_S):
        raise Unavailable(
            f"Kafka at {told.kafka.bootstrap} did not take all of it in {_DELIVERY_S:.0f} s; try again: what it took is"
            " not stored twice"
        )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to ask: give --yes (or --dry-run)")
    sys.stdout.write("send them again? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _with_payload(letter: DeadLetter, others: Iterable[Held]) -> DeadLetter:
    """The letter with its message's bytes, which for a long one stand in the first of its letters only."""
    if letter.payload or not letter.size:
        return letter
    payload = next((other.letter.payload for other in others if other.letter.payload), b"")
    return msgspec.structs.replace(letter, payload=payload)


def _name(letter_id: str, log: LogSlices, told: ToolSettings) -> Name:
    name = name_of(letter_id)
    if name is None:
        raise ConfigurationError(f"{letter_id!r} is no dead letter's id, such as 2:18207:0; `weir dead-letter list`")
    name = name._replace(topic=name.topic.removeprefix(told.kafka.topic_prefix))
    if name.topic not in {t.name for t in topics.ALL} or name.partition not in log.partitions(name.topic):
        raise ConfigurationError(f"dead letter {letter_id}: there is no partition {name.partition} of {name.topic}")
    return name
