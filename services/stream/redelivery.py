"""Recognising a repeated message of a device that sends no sequence numbers, by the hash of its payload."""

from hashlib import blake2b
from typing import Final

MEMORY: Final = 1024
"""Messages of a device that are remembered: more than a bridge can have in flight, so that its death doubles none."""
_WIDTH: Final = 6


class RecentPayloads:
    """The last `MEMORY` payload hashes of a device, packed into 6 bytes each (a false match: 1 in 10^12)."""

    __slots__ = ("_next", "packed")

    def __init__(self, packed: bytes = b"", following: int = 0) -> None:
        # Devices that number their messages need none of their own.
        self.packed: bytes | bytearray = bytearray(packed) if packed else b""
        self._next = following

    @property
    def following(self) -> int:
        """Slot that the next hash goes to."""
        return self._next

    def knows(self, payload: bytes) -> bool:
        """Whether these bytes were seen lately."""
        return self._holds(blake2b(payload, digest_size=_WIDTH).digest())

    def see(self, payload: bytes) -> bool:
        """Whether these bytes were seen lately; they are remembered now."""
        digest = blake2b(payload, digest_size=_WIDTH).digest()
        if self._holds(digest):
            return True
        packed = self.packed
        if not isinstance(packed, bytearray):
            self.packed = bytearray(digest)
        elif len(packed) < MEMORY * _WIDTH:
            packed += digest
        else:
            packed[self._next * _WIDTH : (self._next + 1) * _WIDTH] = digest
            self._next = (self._next + 1) % MEMORY
        return False

    def _holds(self, digest: bytes) -> bool:
        at = self.packed.find(digest)
        while at >= 0 and at % _WIDTH:
            at = self.packed.find(digest, at + 1)
        return at >= 0
