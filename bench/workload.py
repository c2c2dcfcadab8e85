"""The messages that every contender gets: seeded, so that two runs have the same bytes but for the time they end at."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from schemas import mqtt

TENANT: Final = "bench"
SITE: Final = "lab"
SENSORS: Final = ("temperature", "pressure", "flow")
WIDTHS_S: Final = (10, 60, 300)
LATENESS_S: Final = 10
"""Seconds of event time that a window waits after its end for late readings."""
SEED: Final = 1


class Message(NamedTuple):
    """One MQTT message; `at_us` is its event time, unix µs."""

    device: str
    seq: int
    at_us: int
    payload: bytes


@dataclass(frozen=True)
class Workload:
    """`messages` messages of `devices` devices, one a second from each in turn, three readings each.

    The last ends before `end_us` (unix µs), which is cut to a window of 300 s, so that windows fall alike in every run.
    """

    devices: int
    messages: int
    end_us: int
    seed: int = SEED

    @property
    def seconds(self) -> int:
        """Seconds of event time that it spans, rounded up."""
        return -(-self.messages // self.devices)

    @property
    def base_us(self) -> int:
        """Event time of the first message, the beginning of a window of each width."""
        widest = WIDTHS_S[-1] * 1_000_000
        return self.end_us // widest * widest - -(-self.seconds // WIDTHS_S[-1]) * widest

    @cached_property
    def encoded(self) -> list[Message]:
        """All messages, made once and kept."""
        return list(self.one_by_one())

    def one_by_one(self) -> Iterator[Message]:
        """All messages, none of them kept."""
        rng = random.Random(self.seed)
        names = [device_name(index) for index in range(self.devices)]
        for number in range(self.messages):
            index, seq = number % self.devices, number // self.devices
            at_us = self.base_us + seq * 1_000_000
            values = ",".join(f'"{sensor}":{20 + rng.gauss(0, 1):.4f}' for sensor in SENSORS)
            payload = f'{{"ts":{at_us // 1000},"seq":{seq},"values":{{{values}}}}}'
            yield Message(names[index], seq, at_us, payload.encode())

    def windows(self) -> int:
        """Windows that are over, lateness included, when each device's last message has come: one a sensor each."""
        total = 0
        for index in range(self.devices):
            last_s = (self.messages - 1 - index) // self.devices
            total += sum((last_s - LATENESS_S) // width for width in WIDTHS_S if last_s >= LATENESS_S + width)
        return total * len(SENSORS)


def device_name(index: int) -> str:
    """The device with this number."""
    return f"d{index:06d}"


def key_of(device: str) -> str:
    """Its key on every topic."""
    return f"{TENANT}/{device}"


def topic_of(device: str) -> str:
    """Its MQTT topic."""
    return mqtt.telemetry_topic(TENANT, SITE, device)
