"""Dead letters as they are read from their topic: chosen, counted, each once. Pure."""

from collections import Counter, OrderedDict, deque
from typing import Final, NamedTuple

import msgspec

from schemas import topics
from schemas.dead_letter import DeadLetter
from schemas.reasons import Reason, Stage

REMEMBERED: Final = 100_000
"""Ids among which a repeat after a crash is recognised."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant; None lets everything pass. `device` is `tenant/device`, the key of its records."""

    reason: Reason | None = None
    stage: Stage | None = None
    device: str | None = None
    since_us: int | None = None
    """By when they were written, unix µs."""
    until_us: int | None = None

    def passes(self, letter: DeadLetter, key: str) -> bool:
        """Whether a letter with this key is meant; times are left to whoever reads the topic."""
        return (
            self.reason in (None, letter.reason) and self.stage in (None, letter.stage) and self.device in (None, key)
        )


class Held(msgspec.Struct):
    """One dead letter, when it was written (unix µs), under which key, and when it was last replayed."""

    letter: DeadLetter
    written_us: int
    key: str
    replayed_us: int | None = None


class Letters:
    """The letters of a choice, as they are read: all counted, the last `most` of each partition held.

    Memory: `REMEMBERED` ids, the letters held, and one time for each letter that was replayed.
    """

    def __init__(self, choice: Choice, most: int) -> None:
        self.by_reason: Counter[str] = Counter()
        self.replayed = 0
        self._choice = choice
        self._held: dict[int, deque[Held]] = {}
        self._most = most
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._replayed: dict[str, int] = {}

    def take(self, letter: DeadLetter, written_us: int, key: str) -> None:
        """The next record of the topic, in the order of its partition."""
        if not self._choice.passes(letter, key):
            return
        if letter.replayed_us is not None:
            # A mark may outlive its letter, or be newer than the letters that were asked for.
            self.replayed += letter.id in self._seen and letter.id not in self._replayed
            self._replayed[letter.id] = letter.replayed_us
            return
        if letter.id in self._seen:
            return
        self._seen[letter.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self.by_reason[letter.reason] += 1
        self._held.setdefault(letter.partition, deque(maxlen=self._most)).append(Held(letter, written_us, key))

    @property
    def total(self) -> int:
        """Letters of the choice."""
        return sum(self.by_reason.values())

    def last(self) -> list[Held]:
        """The last of them, by time of writing."""
        held = sorted((one for each in self._held.values() for one in each), key=lambda one: one.written_us)
        for one in held:
            one.replayed_us = self._replayed.get(one.letter.id)
        return held[-self._most :] if self._most else []


class Name(NamedTuple):
    """What a dead letter's id says: the record it is about, and which reading of it."""

    topic: str
    partition: int
    offset: int
    reading: int


def name_of(letter_id: str) -> Name | None:
    """The parts of an id, `partition:offset:index` or `topic:partition:offset:index`; None: it is no such id."""
    parts = letter_id.split(":")
    topic, numbers = (topics.RAW, parts) if len(parts) == 3 else (parts[0], parts[1:])
    if len(numbers) != 3 or not all(number.isascii() and number.isdecimal() for number in numbers):
        return None
    return Name(topic, *map(int, numbers))
