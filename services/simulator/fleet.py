"""The fleet: which device replays which recording, from where, and how it differs from the others. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.simulator.options import ReplayOptions
from services.simulator.recordings import Recording, Values

Rows = npt.NDArray[np.int64]
NO_ROWS: Final[Rows] = np.zeros(0, dtype=np.int64)
CALM = 300
"""Rows that a device has before it meets the first known anomaly of its recording, where the recording allows it."""
NOISE = 0.05
"""A device's sensor noise, as a part of its sensor's usual spread."""


@dataclass(frozen=True, eq=False)
class DevicePlan:
    """One device.

    It goes live at row `phase` of its recording and goes round; before that it takes the rows in `stored`, its history.
    Its value is `recorded * gain + offset`, and noise of standard deviation `noise` (each per sensor), rounded to
    `decimals`. `clock` is its own pace: with 1.02 it takes readings 2 % more often.
    """

    tenant: str
    site: str
    device: str
    recording: Recording
    phase: int
    clock: float
    gain: Values
    offset: Values
    noise: Values
    decimals: tuple[int, ...]
    seed: int
    stored: Rows

    def rows(self, first: int, count: int) -> Rows:
        """Rows of the recording that readings `first` to `first + count - 1` are taken from."""
        n = np.arange(first, first + count)
        live: Rows = (self.phase + n - len(self.stored)) % len(self.recording)
        if first < len(self.stored):
            past = n < len(self.stored)
            live[past] = self.stored[n[past]]
        return live


def plan(recordings: Sequence[Recording], options: ReplayOptions) -> list[DevicePlan]:
    """The same recordings, options and seed give the same fleet."""
    width = max(2, len(str(options.devices)))
    return [
        _device(
            recordings[i % len(recordings)],
            options.tenant,
            options.sites[i % len(options.sites)],
            f"{options.prefix}-{i + 1:0{width}}",
            zlib.crc32(f"{options.seed}/{options.tenant}/{options.prefix}/{i}".encode()),
            options.history,
        )
        for i in range(options.devices)
    ]


def spread(values: Values) -> Values:
    """Each column's usual deviation from its median, robust against anomalies; 0 where it hardly ever moves."""
    middle = np.nanmedian(values, axis=0)
    deviation: Values = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    return np.nan_to_num(deviation)


def _device(recording: Recording, tenant: str, site: str, device: str, seed: int, history: int) -> DevicePlan:
    random = np.random.default_rng(seed)
    usual = spread(recording.values)
    moves = usual > 0
    # A sensor that hardly moves is a switch or a counter: scaling it would make values that it never has.
    gain = np.where(moves, random.uniform(0.97, 1.03, len(usual)), 1.0)
    offset = np.where(moves, random.uniform(-0.5, 0.5, len(usual)) * usual, 0.0)
    phase = int(random.choice(_calm_starts(recording)))
    return DevicePlan(
        tenant=tenant,
        site=site,
        device=device,
        recording=recording,
        phase=phase,
        clock=float(random.uniform(0.97, 1.03)),
        gain=gain,
        offset=offset,
        noise=NOISE * usual,
        decimals=tuple(_decimals(float(s)) for s in usual),
        seed=seed,
        stored=_healthy_before(recording, phase, history),
    )


def _calm_starts(recording: Recording) -> Rows:
    """Rows after which the recording's known anomalies leave the longest peace, up to `CALM` rows."""
    anomalous = np.zeros(len(recording), dtype=bool)
    anomalous[list(recording.anomaly_at)] = True
    ahead = min(CALM, len(recording))
    peace = np.full(len(recording), ahead)
    for distance in range(ahead - 1, -1, -1):
        peace[np.roll(anomalous, -distance)] = distance
    starts: Rows = np.flatnonzero(peace == peace.max())
    return starts


def _healthy_before(recording: Recording, phase: int, count: int) -> Rows:
    """The `count` rows before `phase`, in order, without the known anomalies: a device begins in good health."""
    healthy = np.array([row for row in range(len(recording)) if row not in recording.anomaly_at], dtype=np.int64)
    if not count or not len(healthy):
        return NO_ROWS
    following = int(np.searchsorted(healthy, phase))
    stored: Rows = healthy[(following + np.arange(-count, 0)) % len(healthy)]
    return stored


def _decimals(usual: float) -> int:
    """So many that rounding stays far below the noise."""
    if usual == 0:
        return 9
    return int(np.clip(3 - np.floor(np.log10(usual)), 0, 12))
