"""Messages that wait for their PUBACK: they become durable out of order and are acknowledged in order."""

from collections import deque
from collections.abc import Iterator


class Entry:
    """A message that was received and is not yet acknowledged; its reference stays with whoever delivers it."""

    __slots__ = ("durable", "generation", "mid")

    def __init__(self, mid: int, generation: int) -> None:
        self.mid = mid
        self.generation = generation
        self.durable = False


class Unacknowledged:
    """Messages in receive order; releases the longest durable prefix (MQTT 5, 4.6: PUBACKs leave in receive order).

    Packet ids belong to a connection: `forget` begins a new generation, and an entry of an older one, durable or not,
    is never released.

    >>> waiting = Unacknowledged()
    >>> a, b = waiting.open(7), waiting.open(8)
    >>> b.durable = True
    >>> waiting.release()
    []
    >>> a.durable = True
    >>> waiting.release()
    [7, 8]
    """

    def __init__(self) -> None:
        self.generation = 0
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def open(self, mid: int) -> Entry:
        """Write down a message as received; `mid` is its packet id."""
        entry = Entry(mid, self.generation)
        self._entries.append(entry)
        return entry

    def release(self) -> list[int]:
        """Packet ids that may be acknowledged now, in receive order; each is released once."""
        entries = self._entries
        ready = []
        while entries and entries[0].durable:
            ready.append(entries.popleft().mid)
        return ready

    def forget(self) -> int:
        """The connection is gone, and its ids with it; returns how many messages will come again."""
        forgotten = len(self._entries)
        self._entries.clear()
        self.generation += 1
        return forgotten
