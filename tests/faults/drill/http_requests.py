"""Requests out of a stream of bytes, as far as a proxy in front of InfluxDB needs them. Pure."""

import gzip
import re
from typing import Final, NamedTuple

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_GZIPPED: Final = re.compile(rb"\r\ncontent-encoding:[ \t]*gzip", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Request(NamedTuple):
    """A whole request: its bytes as they came, and what is in them."""

    raw: bytes
    path: bytes
    body: bytes

    @property
    def is_write(self) -> bool:
        """Whether it writes lines to InfluxDB, by the API of 1.x or of 2.x."""
        return self.path.split(b"?", 1)[0] in (b"/write", b"/api/v2/write")

    @property
    def lines(self) -> list[bytes]:
        """The lines of a write."""
        return self.body.split(b"\n")


class Requests:
    """Cuts what a client sends into requests. Raises `ValueError` on chunked ones: nobody sends such here."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that are complete now."""
        self._held += data
        found = []
        while (request := self._take()) is not None:
            found.append(request)
        return found

    def _take(self) -> Request | None:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._held[: end + 2])
        if _CHUNKED.search(head):
            raise ValueError("a chunked request")
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._held) < whole:
            return None
        raw = bytes(self._held[:whole])
        del self._held[:whole]
        body = raw[end + 4 :]
        return Request(raw, head.split(b" ", 2)[1], gzip.decompress(body) if _GZIPPED.search(head) else body)


def response(status: int, headers: dict[str, str], body: bytes) -> bytes:
    """An answer, after which the connection stays open."""
    lines = [f"HTTP/1.1 {status} Drill", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
