"""What a replay is told; `weir replay` maps its options here one to one."""

from pathlib import Path
from typing import Final

import msgspec

from schemas import mqtt
from services.runtime.errors import ConfigurationError

WATER_FLOW: Final = "river:WaterFlow"


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One replay. `check` says what does not fit together."""

    files: tuple[str, ...] = (WATER_FLOW,)
    """Recordings: paths of CSV files, or names of built-in ones; devices take them in turn."""
    devices: int = 10
    """How many devices, 1 to 100,000."""
    prefix: str = "pump"
    """Devices are called `{prefix}-01`, `{prefix}-02`, ..."""
    tenant: str = "demo"
    sites: tuple[str, ...] = ("plant-1", "plant-2")
    """Devices stand in these in turn."""
    rate: float | None = 1.0
    """Messages per second and device (each device's own clock differs by up to 3 %), whatever the recording's spacing.
    0: as fast as the broker acknowledges. None: as recorded, divided by `speed`."""
    speed: float = 1.0
    """How many times faster than recorded; matters where the recorded spacing does (`rate` None, or `start_us`)."""
    start_us: int | None = None
    """Event time of the first reading, unix µs: event times then keep the recorded spacing (divided by `speed`) and
    must end by now; the recording is replayed once. None: event time is the time of publishing."""
    history: int = 0
    """Readings per device, taken before now at the live spacing, that are uploaded first, in arrays."""
    duration_s: float | None = None
    """Stop after so many seconds of wall clock. None: no limit."""
    once: bool = False
    """Stop when each device has replayed its recording once."""
    messages: int | None = None
    """Stop when each device has taken so many live readings. None: no limit."""
    faults: tuple[str, ...] = ()
    """`kind@device:sensor:at+duration[:size]`, or `random`: about one a minute over the fleet after the warm-up."""
    labels_file: Path | None = None
    """JSON lines, one for each anomaly, injected or known in the recording."""
    seed: int = 1
    """Devices' differences, noise and random faults follow from it."""
    connections: int = 200
    """Most MQTT connections. With more devices, several share one, and its last will speaks for the first of them."""

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigurationError: Names the option and what it takes.
        """
        for option, value in (("tenant", self.tenant), ("prefix", self.prefix), *(("site", s) for s in self.sites)):
            if mqtt.ID.fullmatch(value) is None:
                raise ConfigurationError(f"{option} {value!r}: takes 1 to 64 of A-Z a-z 0-9 _ . : -")
        for wrong, fix in (
            (not self.files, "files: give at least one recording"),
            (not self.sites, "sites: give at least one"),
            (not 1 <= self.devices <= 100_000, "devices: takes 1 to 100,000"),
            (len(self.prefix) > 56, "prefix: takes at most 56 characters, a device id 64"),
            (self.rate is not None and not 0 <= self.rate <= 10_000, "rate: takes 0 to 10,000 messages per second"),
            (not 0 < self.speed <= 1e9, "speed: takes more than 0, up to 1e9"),
            (not 0 <= self.history <= 1_000_000, "history: takes 0 to 1,000,000 readings"),
            (self.history > 0 and self.rate == 0, "history: needs a rate over 0, it follows the live spacing"),
            (self.history > 0 and self.start_us is not None, "history and start: give one, both say when data begins"),
            (self.duration_s is not None and not self.duration_s > 0, "duration: takes more than 0 seconds"),
            (self.messages is not None and self.messages < 1, "messages: takes 1 or more"),
            (not 1 <= self.connections <= 10_000, "connections: takes 1 to 10,000"),
        ):
            if wrong:
                raise ConfigurationError(fix)
