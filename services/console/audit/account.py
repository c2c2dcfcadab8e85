"""What an audit finds: counts, and each message or reading that is unaccounted for. Pure."""

from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec

from services.stream.ledger import Ledger

MOST_FINDINGS: Final = 10_000
"""Findings that are kept; the rest is counted."""


class Missing(StrEnum):
    """What is wrong with a message or reading."""

    NOT_ON_CLEAN = "neither on telemetry.clean nor in the dead letter"
    NOT_IN_INFLUXDB = "on telemetry.clean, not in InfluxDB"
    OTHER_VALUE = "in InfluxDB with another value"
    OVERWRITTEN = "overwritten in InfluxDB by another reading of the same time"
    NOT_IN_KAFKA = "in InfluxDB, on no record of telemetry.clean"
    NO_MESSAGE = "on telemetry.clean, of no message on telemetry.raw"


class Finding(msgspec.Struct, frozen=True):
    """One message, or readings of it, unaccounted for.

    `place` is `partition:offset` on telemetry.raw where the message is known there, else on telemetry.clean; empty for
    a point that no record explains. `event_us` is None where no time could be read.
    """

    missing: Missing
    device: str
    place: str
    seq: int | None
    event_us: int | None
    sensors: list[str]
    detail: str = ""


class Points(msgspec.Struct):
    """The way of good readings, from telemetry.clean to InfluxDB. Repeats of a record by its `id` count once.

    written = stored + refused + in_flight + what findings name.
    """

    written: int = 0
    """Readings on telemetry.clean."""
    stored: int = 0
    refused: int = 0
    """In the dead letter as `sink_refused`."""
    in_flight: int = 0
    """On telemetry.clean, but not yet committed by the sink when the audit began."""
    repeats: int = 0
    """Records of telemetry.clean that repeat another one by their `id`."""


class Account(msgspec.Struct):
    """Everything that was counted. `ledger` is as the stream counts, but made anew from the topics.

    `unaccounted_messages` and `unaccounted_readings` are what its sums lack.
    """

    devices: int = 0
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    messages_in_flight: int = 0
    replayed: int = 0
    """Messages among the received that a person sent again from the dead letter."""
    points: Points = msgspec.field(default_factory=Points)
    findings: list[Finding] = []
    not_kept: int = 0
    """Findings beyond `MOST_FINDINGS`."""
    by_kind: Counter[str] = msgspec.field(default_factory=Counter)

    def find(self, finding: Finding) -> None:
        """Take a finding."""
        self.by_kind[finding.missing.name.lower()] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.not_kept += 1

    def add(self, other: "Account") -> None:
        """Take another account's counts and findings."""
        self.devices += other.devices
        self.ledger.add(other.ledger)
        self.messages_in_flight += other.messages_in_flight
        self.replayed += other.replayed
        mine, its = self.points, other.points
        for name in Points.__struct_fields__:
            setattr(mine, name, getattr(mine, name) + getattr(its, name))
        self.by_kind.update(other.by_kind)
        room = MOST_FINDINGS - len(self.findings)
        self.findings += other.findings[:room]
        self.not_kept += other.not_kept + len(other.findings[room:])

    @property
    def ok(self) -> bool:
        """Whether everything is accounted for."""
        return not self.findings
