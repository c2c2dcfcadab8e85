"""A proxy between two parties, which can cut, silence, refuse and slow down what goes through it.

Every link of a run lives in one thread (`ProxyThread`); its methods may be called from any thread and return when done.
"""

from collections.abc import Callable, Mapping

Address = tuple[str, int]


class ProxyThread:
    """The thread in which links live. Close it when all is over: every connection is reset."""

    def start(self) -> "ProxyThread":
        """Start the thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Reset all connections of all links, stop listening, end the thread."""


class Link:
    """A way from a port of its own to `upstream`. `port` 0: a free one below the ephemeral range is taken."""

    def __init__(self, name: str, upstream: Address, thread: ProxyThread, port: int = 0) -> None:
        """Listens when this returns."""
        self.name = name
        self.port = port
        raise NotImplementedError

    @property
    def bytes_swallowed(self) -> int:
        """Bytes that vanished in `half_open`."""
        raise NotImplementedError

    @property
    def bytes_passed(self) -> int:
        """Bytes that went through, both ways."""
        raise NotImplementedError

    @property
    def connections(self) -> int:
        """Open ones, now."""
        raise NotImplementedError

    @property
    def connections_cut(self) -> int:
        """Open connections that `cut`, `down` or `heal` has reset."""
        raise NotImplementedError

    @property
    def connections_refused(self) -> int:
        """Connections that upstream did not take."""
        raise NotImplementedError

    def cut(self) -> int:
        """Reset all open connections, both sides; new ones may come at once. Returns how many."""
        raise NotImplementedError

    def half_open(self) -> None:
        """From now on bytes vanish both ways and nobody is told of a close, on open and on new connections."""

    def heal(self) -> None:
        """End `half_open` and `slow`. Connections that were silenced are reset."""

    def down(self) -> None:
        """Reset all, refuse new connections."""

    def up(self) -> None:
        """Listen again, on the same port."""

    def slow(self, latency_s: float) -> None:
        """Bytes come so much later, each way, in order; 0 ends it."""


class InfluxLink(Link):
    """A link to InfluxDB that can answer writes (`/api/v2/write`, `/write`) in its place. Queries pass untouched."""

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: str = "", share: float = 1.0) -> None:
        """Answer this `share` (0..1) of writes so, spread evenly, and pass on the others, until `pass_all`."""

    def refuse_line(self, predicate: Callable[[bytes], bool]) -> None:
        """Answer 400, as InfluxDB 1.8 words it, to each write with such a line; none of it is stored. Others pass."""

    def delay(self, seconds: float) -> None:
        """Hold each write for so long before it is passed on or answered; 0 ends it."""

    def pass_all(self) -> None:
        """End `answer`, `refuse_line` and `delay`."""

    @property
    def refused(self) -> int:
        """Writes that were answered here."""
        raise NotImplementedError

    @property
    def writes(self) -> int:
        """Writes that were passed on."""
        raise NotImplementedError
