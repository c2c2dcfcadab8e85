"""What the devices of a row know: what was handed to a socket, and what the broker has acknowledged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass
class FleetRecord:
    """`acknowledged`, `sent`: device -> sequence number -> `ts` in µs by the device's clock.

    What was sent may be stored; what was acknowledged must be.
    """

    acknowledged: dict[str, dict[int, int]] = field(default_factory=dict)
    sent: dict[str, dict[int, int]] = field(default_factory=dict)
    poison_acknowledged: dict[str, list[bytes]] = field(default_factory=dict)
    """device -> payloads of `Fleet.publish_raw`."""
    poison_sent: dict[str, dict[bytes, int]] = field(default_factory=dict)
    """device -> payload -> how often it was handed to a socket."""
    refused: list[str] = field(default_factory=list)
    """PUBACKs with an error, in words: these messages are no obligations."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record that a fleet has kept in `folder`."""
        record = cls()
        for name, known in (("acknowledged", record.acknowledged), ("sent", record.sent)):
            for line in (folder / name).read_text().splitlines():
                device, seq, ts_us = line.split()
                known.setdefault(device, {})[int(seq)] = int(ts_us)
        for device, payload in _poison_lines(folder / "poison-acknowledged"):
            record.poison_acknowledged.setdefault(device, []).append(payload)
        for device, payload in _poison_lines(folder / "poison-sent"):
            times = record.poison_sent.setdefault(device, {})
            times[payload] = times.get(payload, 0) + 1
        record.refused = _lines(folder / "refused")
        return record


class Diary:
    """Keeps the record, in memory and in append-only files; for one thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.record = FleetRecord()
        names = ("acknowledged", "sent", "poison-acknowledged", "poison-sent", "refused")
        self._files = {name: (folder / name).open("a") for name in names}

    def sent(self, device: str, seq: int, ts_us: int) -> None:
        """About to be handed to the socket."""
        known = self.record.sent.setdefault(device, {})
        if seq not in known:
            known[seq] = ts_us
            self._files["sent"].write(f"{device} {seq} {ts_us}\n")

    def acknowledged(self, device: str, seq: int, ts_us: int) -> None:
        """The PUBACK is here."""
        known = self.record.acknowledged.setdefault(device, {})
        if seq not in known:
            known[seq] = ts_us
            self._files["acknowledged"].write(f"{device} {seq} {ts_us}\n")

    def poison_sent(self, device: str, payload: bytes) -> None:
        """About to be handed to the socket."""
        times = self.record.poison_sent.setdefault(device, {})
        times[payload] = times.get(payload, 0) + 1
        self._files["poison-sent"].write(f"{device} {payload.hex()}\n")

    def poison_acknowledged(self, device: str, payload: bytes) -> None:
        """The PUBACK is here."""
        self.record.poison_acknowledged.setdefault(device, []).append(payload)
        self._files["poison-acknowledged"].write(f"{device} {payload.hex()}\n")

    def refused(self, device: str, seq: int, reason: int) -> None:
        """A PUBACK is here, and says no."""
        said = f"{device} {seq}: MQTT reason 0x{reason:02x}"
        self.record.refused.append(said)
        self._files["refused"].write(said + "\n")

    def flush(self) -> None:
        """Into the files; every so often, as nobody needs them before the end."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """No more is written."""
        for file in self._files.values():
            file.close()


def _poison_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    for line in _lines(path):
        device, _, payload = line.partition(" ")
        yield device, bytes.fromhex(payload)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
