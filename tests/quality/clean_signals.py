"""Six kinds of signal as healthy sensors send them: seeded, at any pace, for as long as one likes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

KINDS: Final = ("noise", "cycles", "walk", "machine", "counter", "quantised")
DAY_S: Final = 86_400
WEEK_S: Final = 7 * DAY_S
START_S: Final = 1_700_000_000


def clean_signal(kind: str, step_s: float, seed: int, days: float = 7.0) -> tuple[list[int], list[float]]:
    """Event times (unix µs) and values of a healthy sensor; the same for the same arguments."""
    numbers = np.random.default_rng([seed, KINDS.index(kind), round(step_s)])
    count = int(days * DAY_S / step_s)
    times_s = START_S + np.arange(count) * step_s
    values = _SIGNALS[kind](numbers, times_s, step_s)
    return np.round(times_s * 1e6).astype(np.int64).tolist(), values.tolist()


_Numbers = NDArray[np.float64]


def _noise(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    return 20.0 + numbers.normal(size=len(times_s))


def _cycles(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    """A daily wave of ten deviations, 30 % higher at one time of the week than at another."""
    week = 1.0 + 0.3 * np.sin(2.0 * np.pi * times_s / WEEK_S)
    return 50.0 + 10.0 * week * np.sin(2.0 * np.pi * times_s / DAY_S) + numbers.normal(size=len(times_s))


def _walk(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    return 100.0 + 0.02 * np.sqrt(step_s) * np.cumsum(numbers.normal(size=len(times_s)))


def _machine(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    """On for half an hour, off for an hour, on average; each reading noisy."""
    values = np.zeros(len(times_s))
    at, is_on = 0, False
    while at < len(values):
        lasts = max(1, int(numbers.exponential(1_800 if is_on else 3_600) / step_s))
        values[at : at + lasts] = 50.0 if is_on else 2.0
        at, is_on = at + lasts, not is_on
    return values + numbers.normal(size=len(values)) * np.where(values > 10.0, 1.0, 0.1)


def _counter(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    """Three more with each reading, on average; starts again from nothing every 20 hours or so."""
    values = np.cumsum(numbers.poisson(3.0, len(times_s)).astype(np.float64))
    usual = int(20 * 3_600 / step_s)
    reset = usual
    while reset < len(values):
        values[reset:] -= values[reset]
        reset += int(usual * numbers.uniform(0.8, 1.2)) + 1
    return values


def _quantised(numbers: np.random.Generator, times_s: _Numbers, step_s: float) -> _Numbers:
    """A daily wave, told in whole numbers or in tenths."""
    wave = 20.0 + 2.0 * np.sin(2.0 * np.pi * times_s / DAY_S) + 0.3 * numbers.normal(size=len(times_s))
    return np.round(wave, int(numbers.integers(2)))


_SIGNALS = {
    "noise": _noise,
    "cycles": _cycles,
    "walk": _walk,
    "machine": _machine,
    "counter": _counter,
    "quantised": _quantised,
}
