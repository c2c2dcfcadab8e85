"""The fleet: which device replays which recording, from where, and how it differs from the others. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.simulator.options import ReplayOptions
from services.simulator.recordings import Recording, Values

NOISE = 0.05
"""A device's sensor noise, as a part of its sensor's usual spread."""


@dataclass(frozen=True, eq=False)
class DevicePlan:
    """One device.

    It starts at row `phase` of its recording and goes round. Its value is `recorded * gain + offset`, and noise of
    standard deviation `noise` (each per sensor), rounded to `decimals`. `clock` is its own pace: with 1.02 it takes
    readings 2 % more often.
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
        )
        for i in range(options.devices)
    ]


def spread(values: Values) -> Values:
    """Each column's usual deviation from its median, robust against anomalies; 0 where it hardly ever moves."""
    middle = np.nanmedian(values, axis=0)
    deviation: Values = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    return np.nan_to_num(deviation)


def _device(recording: Recording, tenant: str, site: str, device: str, seed: int) -> DevicePlan:
    random = np.random.default_rng(seed)
    usual = spread(recording.values)
    moves = usual > 0
    # A sensor that hardly moves is a switch or a counter: scaling it would make values that it never has.
    gain = np.where(moves, random.uniform(0.97, 1.03, len(usual)), 1.0)
    offset = np.where(moves, random.uniform(-0.5, 0.5, len(usual)) * usual, 0.0)
    return DevicePlan(
        tenant=tenant,
        site=site,
        device=device,
        recording=recording,
        phase=int(random.integers(len(recording))),
        clock=float(random.uniform(0.97, 1.03)),
        gain=gain,
        offset=offset,
        noise=NOISE * usual,
        decimals=tuple(_decimals(float(s)) for s in usual),
        seed=seed,
    )


def _decimals(usual: float) -> int:
    """So many that rounding stays far below the noise."""
    if usual == 0:
        return 9
    return int(np.clip(3 - np.floor(np.log10(usual)), 0, 12))
