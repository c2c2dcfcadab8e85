"""What the devices of one row say: a pure function of seed, row, device and sequence number. Nothing of Weir's."""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TENANT: Final = "drill"
SENSORS: Final = ("level", "pressure", "temperature")

LEVEL_LIMIT: Final = 100.0
"""`level` stays under it but for `Workload.high_level`; the drill's rule `level-high` raises an alarm of it."""

_PLATEAU: Final = range(200, 290)
_PLATEAU_HEIGHT: Final = 12 * 0.5
_HIGH_LEVEL: Final = 50.0
_HIGH_LENGTH: Final = 30


@dataclass(frozen=True)
class Workload:
    """The devices of one row. `clock_offset_us`: device index -> how far its clock is ahead (negative: behind).

    `copies`: each message is published so many times, one after the other, as publishes of their own.
    """

    seed: int
    row: str
    devices: int = 20
    per_second: float = 10.0
    """Messages a second of each device."""
    clock_offset_us: Mapping[int, int] = field(default_factory=dict)
    copies: int = 1

    @property
    def site(self) -> str:
        """All devices of a row stand at a site of its name, so that its records can be told from other rows'."""
        return self.row

    @property
    def device_ids(self) -> list[str]:
        """All devices, in the order of their indexes."""
        return [self.device_id(index) for index in range(self.devices)]

    def device_id(self, device_index: int) -> str:
        """The device's id within its tenant; also its MQTT client id."""
        return f"{self.row}-{device_index:02d}"

    def topic(self, device_index: int) -> str:
        """Where the device publishes."""
        return f"weir/v1/{TENANT}/{self.site}/{self.device_id(device_index)}/telemetry"

    def message(self, device_index: int, seq: int, ts_us: int) -> bytes:
        """The payload. `ts_us` is the device's clock, which no two messages of a device share."""
        return json.dumps(
            {"ts": ts_us, "seq": seq, "values": self.values(device_index, seq)}, separators=(",", ":")
        ).encode()

    def values(self, device_index: int, seq: int) -> dict[str, float]:
        """Sensor -> value. No sensor of a device says a value twice within 100,000 messages: a sum reveals a double."""
        one, two, three = _noise(self.seed, self.row, device_index, seq)
        level = 60.0 + one + (_HIGH_LEVEL if seq in self.high_level(device_index) else 0.0)
        pressure = 3.0 + device_index / 64 + 0.05 * two
        temperature = 20.0 + device_index + 2.0 * math.sin(2 * math.pi * seq / 3000) + 0.5 * three
        if seq in self.plateau(device_index):
            temperature += _PLATEAU_HEIGHT
        number = (seq + 1) * 1e-9
        return {
            "level": round(level, 4) + number,
            "pressure": round(pressure, 4) + number,
            "temperature": round(temperature, 4) + number,
        }

    def high_level(self, device_index: int) -> range:
        """Sequence numbers at which `level` is over `LEVEL_LIMIT`; empty but for every fifth device (1, 6, 11...)."""
        if device_index % 5 != 1:
            return range(0)
        begin = 60 + int.from_bytes(_digest(self.seed, self.row, device_index, -1)[:2], "big") % 40
        return range(begin, begin + _HIGH_LENGTH)

    def plateau(self, device_index: int) -> range:
        """Sequence numbers at which `temperature` is 12 sigma too high; empty but for every fifth device (0, 5...)."""
        return _PLATEAU if device_index % 5 == 0 else range(0)


def _digest(seed: int, row: str, device_index: int, seq: int) -> bytes:
    key = b"%d/%b/%d/%d" % (seed, row.encode(), device_index, seq)
    return hashlib.blake2b(key, digest_size=24).digest()


def _noise(seed: int, row: str, device_index: int, seq: int) -> tuple[float, float, float]:
    """Three independent draws, normal to the eye: sums of two uniform ones with mean 0 and standard deviation 1."""
    parts = struct.unpack("<6I", _digest(seed, row, device_index, seq))
    scale = math.sqrt(6) / 2**32
    return (
        (parts[0] + parts[1]) * scale - math.sqrt(6),
        (parts[2] + parts[3]) * scale - math.sqrt(6),
        (parts[4] + parts[5]) * scale - math.sqrt(6),
    )
