"""Devices that publish at QoS 1 until they have the PUBACK, whatever happens to broker and network, and keep record.

In: a workload, a broker's address. Out: MQTT messages; in the folder, what was handed to the socket (`sent`, written
before) and what was acknowledged (`acknowledged`, written after the PUBACK: the obligations). Imports nothing of Weir's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.drill.workload import Workload

Credentials = Callable[[int], tuple[str, str]]
"""Device index -> MQTT user name and password."""


class NotAcknowledged(Exception):
    """The broker has not acknowledged all in time. `missing`: device -> sequence numbers (-1: a raw payload)."""

    def __init__(self, missing: dict[str, list[int]]) -> None:
        self.missing = missing
        total = sum(map(len, missing.values()))
        super().__init__(f"{total} messages without PUBACK: {dict(list(missing.items())[:3])}")


@dataclass
class FleetRecord:
    """What the devices know. `acknowledged`, `sent`: device -> sequence number -> `ts` in µs by the device's clock."""

    acknowledged: dict[str, dict[int, int]] = field(default_factory=dict)
    sent: dict[str, dict[int, int]] = field(default_factory=dict)
    poison_acknowledged: list[bytes] = field(default_factory=list)
    poison_sent: dict[bytes, int] = field(default_factory=dict)
    """Payload of `publish_raw` -> how often it was handed to the socket."""
    refused: list[str] = field(default_factory=list)
    """PUBACKs with an error: no obligations; device, number and MQTT reason code."""


@dataclass(frozen=True)
class Counts:
    """Since the start: messages made, acknowledged; publishes repeated with DUP; connections made anew; PUBACKs that
    said that nobody had subscribed (reason 0x10: such a message is gone)."""

    made: int
    acknowledged: int
    resent: int
    reconnects: int
    unheard: int


class Fleet:
    """All devices of a workload, one MQTT 5 connection each, in one thread with an event loop."""

    def __init__(
        self,
        workload: Workload,
        host: str,
        port: int,
        folder: Path,
        credentials: Credentials | None = None,
    ) -> None:
        """Nothing happens before `start`. `folder` is made; it must hold no record of another fleet."""
        raise NotImplementedError

    def start(self) -> None:
        """Connect, and begin to publish; returns at once (see `wait_connected`)."""

    def wait_connected(self, deadline_s: float = 30.0) -> None:
        """Until all devices are connected. Raises `TimeoutError`."""

    def burst(self, factor: float, seconds: float) -> None:
        """Publish `factor` times as fast for `seconds` from now; returns at once."""

    def publish_raw(self, device_index: int, payload: bytes) -> None:
        """Publish this once more, under the device's topic. It must be poison: bytes of which Weir can use nothing.

        Each payload must be another one, so that its dead letter can be found by its bytes.
        """

    def stop(self, deadline_s: float = 60.0) -> None:
        """Make no more messages but two closing ones a device, wait for every PUBACK, and disconnect.

        The first closing message shows a lost tail; the second, 11 s ahead by the device's clock, lets the watermark
        pass the first one's time, so that the gap is on record. Raises `NotAcknowledged` (all is closed all the same).
        """

    @property
    def in_flight(self) -> int:
        """Messages made and not acknowledged yet, also those that wait for a connection."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """How it goes."""
        raise NotImplementedError

    def acknowledged(self) -> dict[str, dict[int, int]]:
        """Device -> sequence number -> ts of what has a PUBACK."""
        raise NotImplementedError

    def sent(self) -> dict[str, dict[int, int]]:
        """The same of all that was ever handed to a socket: may be stored, need not."""
        raise NotImplementedError

    def record(self) -> FleetRecord:
        """All of the record, as it stands now."""
        raise NotImplementedError
