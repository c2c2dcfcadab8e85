"""Draws the live table: plain data in, lines of text that fit the terminal out."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.local.supervision import ProgramState
from schemas.telemetry import ModelState
from services.console.judgement import Judgement
from services.console.live_state import Device, Event, LiveState
from services.console.programs import SERVICES
from services.console.pulse import adds_up, verdict
from services.scoring.severity import ALARM_LINE

_BAR: Final = 10
_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_WIDE: Final = 110
_HIGH: Final = 30
_FEWEST_EVENTS: Final = 3
_STATE_STYLES: Final = {"RUNNING": "green", "STARTING": "yellow", "BACKOFF": "red", "FATAL": "red", "EXITED": "red"}
_MARKS: Final = {
    "fault": ("⚑", "magenta"),
    "opened": ("▲", "red"),
    "updated": ("▲", "red"),
    "closed": ("▽", "green"),
    "raised": ("●", "bold red"),
    "cleared": ("○", "green"),
}


class Frame(msgspec.Struct, frozen=True):
    """What stands around the devices.

    `states` are the supervisor's; `now_s` is by the clock that `LiveState` was fed by; `note` says what runs.
    """

    states: Mapping[str, ProgramState]
    addresses: Sequence[tuple[str, str, str]]
    """(name, address, program)."""
    logs: str
    note: str
    uptime_s: float
    now_s: float
    width: int
    height: int


def draw(state: LiveState, frame: Frame) -> RenderableType:
    """The whole picture, no higher than the terminal."""
    gap = [] if frame.height < _HIGH else [Text()]
    head: list[RenderableType] = [*_header(frame), *gap, _services(state, frame), *gap]
    foot = _foot(state, frame)
    titles, rule = 2, 1
    used = 3 + 2 * len(gap) + len(SERVICES) + titles + rule + len(foot)
    # The terminal's last line stays free: writing into its corner scrolls some of them.
    room = max(frame.height - used - 1, 4)
    devices = state.worst_first()
    for_events = max(room - len(devices), _FEWEST_EVENTS)
    for_devices = max(room - for_events, 1)
    shown = devices if len(devices) <= for_devices else devices[: for_devices - 1]
    more = len(devices) - len(shown)
    return Group(
        *head,
        _devices(shown, frame),
        *([Text(f"  and {more} more", style="dim")] if more else []),
        Rule(style="dim"),
        *_events(sorted(state.events, key=lambda event: event.at_us)[-for_events:]),
        *foot,
    )


def plain_line(state: LiveState, states: Mapping[str, ProgramState], clock: str) -> str:
    """One line for a log, where there is no terminal."""
    parts = [clock]
    for service in SERVICES:
        vital = state.pulse.vital(service)
        running = states[service].state if service in states else "ABSENT"
        if running != "RUNNING":
            parts.append(f"{service} {running}")
        elif vital is None:
            parts.append(f"{service} no report yet")
        else:
            parts.append(f"{service} {_rate(vital.rate)}/s lag {vital.lag}")
    ready = sum(device.state is ModelState.READY for device in state.devices.values())
    judged = state.judgement()
    ledger = state.pulse.ledger()
    dead = sum(ledger.dead_messages.values())
    parts += [
        f"devices {len(state.devices)} ({ready} ready)",
        f"anomalies {state.anomalies} ({state.open_anomalies()} open)",
        f"alarms {state.alarms} ({state.active_alarms()} active)",
        *([_judged(judged)] if judged else []),
        f"ledger {ledger.received} = {ledger.decoded} + {dead} + {ledger.redelivered}: {verdict(ledger)}",
    ]
    return " | ".join(parts)


def bar(score: float, width: int = _BAR) -> Text:
    """A score in [0, 1] as a bar with the alarm line in its middle."""
    filled = min(max(round(score * width), 0), width)
    style = "red" if score >= ALARM_LINE else "yellow" if score >= ALARM_LINE * 0.8 else "green"
    text = Text()
    for cell in range(width):
        if cell < filled:
            text.append("█", style)
        else:
            text.append("│" if cell == width // 2 else "·", "dim")
    return text


def spark(scores: Iterable[float], width: int) -> Text:
    """The course of the latest scores, a cell each."""
    text = Text()
    latest = list(scores)[-width:]
    text.append(" " * (width - len(latest)))
    for score in latest:
        level = min(int(score * len(_SPARKS)), len(_SPARKS) - 1)
        text.append(_SPARKS[max(level, 1)], "red" if score >= ALARM_LINE else "cyan")
    return text


def _header(frame: Frame) -> list[Text]:
    minutes, seconds = divmod(int(frame.uptime_s), 60)
    first = Text.assemble(("Weir", "bold cyan"), f"  {frame.note}  ", (f"up {minutes}:{seconds:02}", "dim"))
    second = Text()
    for name, address, program in frame.addresses:
        state = frame.states.get(program)
        second.append("● ", _STATE_STYLES.get(state.state, "dim") if state else "red")
        second.append(f"{name} ", "bold")
        second.append(f"{address}   ")
    third = Text.assemble(("logs ", "bold"), frame.logs, ("   Ctrl-C ends all of it", "dim"))
    lines = [first, second, third]
    for line in lines:
        line.truncate(frame.width, overflow="ellipsis")
    return lines


def _services(state: LiveState, frame: Frame) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("service", "state", "pid", "rate", "lag"):
        table.add_column(name, justify="right" if name in ("pid", "rate") else "left", no_wrap=True)
    for service in SERVICES:
        known = frame.states.get(service)
        vital = state.pulse.vital(service)
        does, lag = "…", Text()
        if vital is not None:
            does = f"{_rate(vital.rate)} {vital.unit}/s"
            lag = Text(f"{vital.lag:,} {vital.waiting}", style="" if vital.lag < 1000 else "yellow")
        running = known.state if known else "ABSENT"
        table.add_row(
            Text(service, "bold"),
            Text(running.lower(), _STATE_STYLES.get(running, "red")),
            str(known.pid) if known and known.pid else "-",
            does,
            lag,
        )
    return table


def _devices(devices: Sequence[Device], frame: Frame) -> Table:
    wide = frame.width >= _WIDE
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("device", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("read/s", justify="right", no_wrap=True)
    table.add_column("score", no_wrap=True)
    if wide:
        table.add_column("latest", no_wrap=True)
    table.add_column("values, or what is wrong", no_wrap=True, overflow="ellipsis", ratio=1)
    for device in devices:
        score = Text.assemble(bar(device.score), f" {device.score:.2f}")
        table.add_row(
            Text(device.name, "bold red" if device.anomaly else "bold"),
            _state(device),
            f"{device.readings_per_second(frame.now_s):.1f}",
            score,
            *([spark(device.trace, 20)] if wide else []),
            _condition(device),
        )
    return table


def _state(device: Device) -> Text:
    if device.alarms:
        return Text("ALARM", "bold white on red")
    if device.anomaly is not None:
        return Text("anomaly", "red")
    if device.state is ModelState.READY:
        return Text("ready", "green")
    if device.state is ModelState.PAUSED:
        return Text("paused", "cyan")
    return Text(f"learns {device.progress:.0%}", "yellow")


def _condition(device: Device) -> Text:
    if device.anomaly is not None:
        _, _, what = device.anomaly.sentence.partition(": ")
        return Text(what or device.anomaly.sentence, "red")
    text = Text()
    for sensor, value in device.values.items():
        text.append(f"{sensor} ", "dim")
        text.append(f"{value:.4g}  ", "red" if device.sensors.get(sensor, 0.0) >= ALARM_LINE else "")
    return text


def _events(events: Sequence[Event]) -> list[Text]:
    if not events:
        return [Text("no anomaly yet", "dim")]
    lines = []
    for event in events:
        sign, style = _MARKS[event.mark]
        line = Text.assemble(
            (time.strftime("%H:%M:%S ", time.localtime(event.at_us / 1e6)), "dim"),
            (f"{sign} ", style),
            (f"{event.device} ", "bold"),
            event.text,
        )
        line.no_wrap, line.overflow = True, "ellipsis"
        lines.append(line)
    return lines


def _foot(state: LiveState, frame: Frame) -> list[Text]:
    ledger = state.pulse.ledger()
    tick = ("✓", "bold green") if adds_up(ledger) else ("✗", "bold red")
    judged = state.judgement()
    counts = Text.assemble(
        (f"{state.anomalies}", "bold"),
        f" anomalies ({state.open_anomalies()} open)  ",
        (f"{state.alarms}", "bold"),
        f" alarms ({state.active_alarms()} active)",
    )
    if judged:
        counts.append(f"  {_judged(judged) if frame.width >= _WIDE else _judged_briefly(judged)}")
    line = Text.assemble(
        ("messages ", "dim"),
        f"received {ledger.received:,} = decoded {ledger.decoded:,}"
        f" + dead-lettered {sum(ledger.dead_messages.values()):,} + redelivered {ledger.redelivered:,} ",
        tick,
        "" if adds_up(ledger) else f" {verdict(ledger)}",
    )
    lines = [counts, line]
    for each in lines:
        each.no_wrap, each.overflow = True, "ellipsis"
    return lines


def _judged(judged: Judgement) -> str:
    """Known anomalies in words. Those within the quiet time of another alarm are no news, and said apart."""
    ended = judged.found + judged.missed
    quiet = f" ({judged.quiet} in quiet times)" if judged.quiet else ""
    return f"known anomalies: {judged.found} of {ended} found{quiet}, {judged.unexplained} alarms unexplained"


def _judged_briefly(judged: Judgement) -> str:
    return f"found {judged.found}/{judged.found + judged.missed} known, {judged.unexplained} unexplained"


def _rate(rate: float | None) -> str:
    return "…" if rate is None else f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"
