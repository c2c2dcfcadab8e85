"""When a device takes its n-th reading, and when that leaves the device. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from services.runtime.errors import ConfigurationError
from services.simulator.fleet import DevicePlan
from services.simulator.options import ReplayOptions

_MS = 1000


class Pacing(Protocol):
    """Unix µs; event times are whole milliseconds, as devices write them."""

    def event_us(self, n: int, now_us: int) -> int:
        """Event time of reading `n`, when it is taken now."""

    def due_us(self, n: int) -> int:
        """When reading `n` is to be published."""

    def slept(self, gap_us: int) -> Self:
        """The pacing after the machine slept: what would have been taken meanwhile never was."""


@dataclass(frozen=True)
class AsAcknowledged:
    """As fast as the broker takes them; event time is the time of publishing."""

    def event_us(self, n: int, now_us: int) -> int:
        """Now."""
        return now_us // _MS * _MS

    def due_us(self, n: int) -> int:
        """At once."""
        return 0

    def slept(self, gap_us: int) -> Self:
        """No plan, nothing to move."""
        return self


@dataclass(frozen=True)
class Live:
    """Reading `n` is taken, and due, `elapsed_us(n)` after the first one at `first_us`."""

    first_us: int
    elapsed_us: Callable[[int], float]

    def event_us(self, n: int, now_us: int) -> int:
        """When the device was to take it, even where it is published later: the broker was away, say."""
        return self.due_us(n)

    def due_us(self, n: int) -> int:
        """When it is taken."""
        return (self.first_us + int(self.elapsed_us(n))) // _MS * _MS

    def slept(self, gap_us: int) -> Self:
        """Everything moves by the gap."""
        return replace(self, first_us=self.first_us + gap_us)


@dataclass(frozen=True)
class Stored:
    """Event times of the past, as recorded, and published at another pace."""

    start_us: int
    elapsed_us: Callable[[int], float]
    published: Pacing

    def event_us(self, n: int, now_us: int) -> int:
        """As recorded, from `start_us` on."""
        return (self.start_us + int(self.elapsed_us(n))) // _MS * _MS

    def due_us(self, n: int) -> int:
        """By the pace of publishing."""
        return self.published.due_us(n)

    def slept(self, gap_us: int) -> Self:
        """Only the publishing moves."""
        return replace(self, published=self.published.slept(gap_us))


def pacing(plan: DevicePlan, options: ReplayOptions, now_us: int) -> Pacing:
    """The device's pacing; its live readings begin within one interval from `now_us`."""
    if options.start_us is not None:
        published = AsAcknowledged() if not options.rate else Live(now_us, _at_rate(plan, options.rate))
        return Stored(options.start_us, _as_recorded(plan, options.speed), published)
    if options.rate == 0:
        return AsAcknowledged()
    elapsed = _at_rate(plan, options.rate) if options.rate else _as_recorded(plan, options.speed)
    # Devices do not publish in step: each begins somewhere in its first interval.
    stagger_us = interval_s(plan, options) * 1e6 * (plan.seed % 997) / 997
    return Live(now_us + int(stagger_us - elapsed(options.history)), elapsed)


def interval_s(plan: DevicePlan, options: ReplayOptions) -> float:
    """Seconds of event time from one reading of the device to the next, usually."""
    if options.rate and options.start_us is None:
        return 1 / (options.rate * plan.clock)
    if options.rate == 0 and options.start_us is None:
        return 0.0
    return plan.recording.spacing_s / (options.speed * plan.clock)


def check_ends_by(now_us: int, plan: DevicePlan, options: ReplayOptions) -> None:
    """Refuse stored event times that would run into the future.

    Raises:
        ConfigurationError: Names the latest start, and the speed that would do.
    """
    if options.start_us is None:
        return
    readings = options.messages or len(plan.recording)
    lasts_us = _as_recorded(plan, options.speed)(readings - 1)
    if options.start_us + lasts_us <= now_us:
        return
    room_us = now_us - options.start_us
    fix = f"start {lasts_us / 1e6:.0f} s ago or earlier"
    if room_us > 0:
        fix += f", or take a speed of {options.speed * lasts_us / room_us * 1.001:.3g} or more"
    raise ConfigurationError(
        f"start: {plan.device}'s {readings} readings last {lasts_us / 1e6:.0f} s at speed {options.speed:g} "
        f"and would end in the future; {fix}"
    )


def _at_rate(plan: DevicePlan, rate: float) -> Callable[[int], float]:
    interval_us = 1e6 / (rate * plan.clock)
    return lambda n: n * interval_us


def _as_recorded(plan: DevicePlan, speed: float) -> Callable[[int], float]:
    recording, phase = plan.recording, plan.phase
    offsets = recording.offsets_s
    scale = 1e6 / (speed * plan.clock)

    def elapsed(n: int) -> float:
        rounds, row = divmod(phase + n, len(offsets))
        return float(offsets[row] + rounds * recording.period_s - offsets[phase]) * scale

    return elapsed
