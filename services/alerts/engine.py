"""The life of alarms as a pure reducer: what is remembered of a device, and a record, give what to remember and events.

There is no clock: event times decide, so the same log gives the same events under the same ids. A rule goes
idle -> pending (its condition holds, not yet for as long as `for` says) -> held; the alarm of (rule, device) is raised
when the first sensor is held and cleared when the last one is not.
"""

from hashlib import blake2b
from typing import NamedTuple

from msgspec.structs import replace

from schemas.alarm import AlarmEvent, AlarmPhase
from schemas.anomaly import Anomaly, AnomalyPhase
from schemas.telemetry import Aggregate, Severity
from services.alerts.condition import Condition, EvaluationError
from services.alerts.rules import Rule, Rules, Source
from services.alerts.state import RuleState, Seen, Track, Watch

RULE_REMOVED = "rule removed"
"""The cause of a cleared event when its rule is no longer in force."""

_IDLE = RuleState()
_DEVICE = ""
"""The one track of an anomaly rule."""


class Step(NamedTuple):
    """What a record made. `failed`: rule and why its condition had no value; `ignored`: repeat, older, provisional."""

    watch: Watch
    events: tuple[AlarmEvent, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    ignored: str = ""


def anomaly_step(rules: Rules, watch: Watch, record: Anomaly, offset: int) -> Step:
    """Apply a step in an anomaly's life, read at `offset` of the anomalies' partition."""
    if offset <= watch.applied:
        return Step(watch, ignored="repeat")
    last = watch.seen.get(_DEVICE)
    is_same = last is not None and last.anomaly == record.anomaly
    if last is not None and (record.revision <= last.revision if is_same else record.event_us < last.at_us):
        return Step(replace(watch, applied=offset), ignored="older")
    turn = _Turn(watch)
    for rule in rules.anomalies:
        turn.anomaly(rule, record, is_same=is_same)
    seen = Seen(record.event_us, record.revision, record.anomaly)
    return turn.step(offset, record.event_us, {**watch.seen, _DEVICE: seen})


def aggregate_step(rules: Rules, watch: Watch, record: Aggregate, offset: int) -> Step:
    """Apply a window, read at `offset` of the aggregates' partition. One that no rule asks about changes nothing."""
    if record.provisional:
        return Step(watch, ignored="provisional")
    about = rules.about(record)
    if not about:
        return Step(watch)
    if offset <= watch.applied:
        return Step(watch, ignored="repeat")
    series = f"{record.width_us}:{record.sensor}"
    seen = Seen(record.start_us, record.revision)
    last = watch.seen.get(series)
    if last is not None and seen <= last:
        return Step(replace(watch, applied=offset), ignored="older")
    turn = _Turn(watch)
    for rule in about:
        turn.aggregate(rule, record)
    return turn.step(offset, record.start_us + record.width_us, {**watch.seen, series: seen})


def tick(rules: Rules, watch: Watch, now_us: int) -> Step:
    """Raise what has been pending long enough at the device's event time `now_us`; for anomalies, which come rarely.

    Every anomaly record up to that time must have been applied before: else one that closed in time is missed.
    """
    due = [
        rule
        for name, state in watch.rules.items()
        if (track := state.tracks.get(_DEVICE)) is not None
        and track.raising is not None
        and (rule := rules.by_name.get(name)) is not None
        and track.raising.at_us <= now_us
    ]
    if not due:
        return Step(watch)
    turn = _Turn(watch)
    for rule in due:
        turn.fire_due(rule, now_us)
    return turn.step(watch.applied, now_us, watch.seen)


def retire(rules: Rules, source: Source, watch: Watch) -> Step:
    """Clear what belongs to rules, or to sensors of rules, that are no longer in force."""
    turn = _Turn(watch)
    for name, state in watch.rules.items():
        rule = rules.by_name.get(name)
        if rule is None or rule.source is not source:
            turn.settle(name, {}, watch.clock_us, "", RULE_REMOVED)
        elif rule.sensors and not rule.sensors >= state.tracks.keys():
            kept = {sensor: track for sensor, track in state.tracks.items() if sensor in rule.sensors}
            turn.settle(name, kept, watch.clock_us, "", RULE_REMOVED)
    return turn.step(watch.applied, watch.clock_us, watch.seen)


class _Turn:
    """One record's way through the rules: collects new rule states, events and failures."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._rules = dict(watch.rules)
        self._events: list[AlarmEvent] = []
        self._failed: dict[str, str] = {}

    def step(self, offset: int, at_us: int, seen: dict[str, Seen]) -> Step:
        """The result."""
        rules = {name: state for name, state in self._rules.items() if not state.is_idle()}
        watch = replace(self._watch, applied=offset, clock_us=max(self._watch.clock_us, at_us), seen=seen, rules=rules)
        return Step(watch, tuple(self._events), tuple(self._failed.items()))

    def anomaly(self, rule: Rule, record: Anomaly, *, is_same: bool) -> None:
        """Ask an anomaly rule."""
        self.fire_due(rule, record.event_us)
        state = self._rules.get(rule.name, _IDLE)
        track = state.tracks.get(_DEVICE)
        is_closed = record.phase is AnomalyPhase.CLOSED
        holds = not is_closed and self._holds(rule, rule.when, record)
        if track is not None and track.held:
            # A new anomaly without the old one's end: the end was lost, and only the new one counts.
            is_over = is_closed or (not is_same and not holds)
            ends = self._holds(rule, rule.clear, record) is True if rule.clear is not None else is_over
            if ends:
                self.settle(rule.name, {}, record.event_us, rule.summary(record), record.id)
            return
        if not holds:
            self._rules[rule.name] = replace(state, tracks={})
            return
        if track is not None and is_same:
            since_us = track.since_us
        else:
            since_us = record.opened_us if record.phase is AnomalyPhase.OPENED else record.event_us
        severity = record.severity if rule.follows_severity else rule.severity
        raising = _raised(rule, record, since_us + rule.for_us, severity)
        self._rules[rule.name] = replace(state, tracks={_DEVICE: Track(since_us, raising=raising)})
        self.fire_due(rule, max(record.event_us, since_us))

    def fire_due(self, rule: Rule, now_us: int) -> None:
        """Raise a pending anomaly's alarm, if its time has come."""
        state = self._rules.get(rule.name, _IDLE)
        track = state.tracks.get(_DEVICE)
        if track is None or track.raising is None or track.raising.at_us > now_us:
            return
        self._events.append(track.raising)
        held = Track(track.since_us, held=True)
        self._rules[rule.name] = RuleState(tracks={_DEVICE: held}, alarm=track.raising)

    def aggregate(self, rule: Rule, record: Aggregate) -> None:
        """Ask a rule about a window."""
        state = self._rules.get(rule.name, _IDLE)
        tracks = dict(state.tracks)
        end_us = record.start_us + record.width_us
        track = tracks.get(record.sensor)
        holds = self._holds(rule, rule.when, record)
        if track is not None and track.held:
            ends = holds is False if rule.clear is None else self._holds(rule, rule.clear, record) is True
            if ends:
                del tracks[record.sensor]
                self.settle(rule.name, tracks, end_us, rule.summary(record), record.id)
            return
        if not holds:
            tracks.pop(record.sensor, None)
            self._rules[rule.name] = replace(state, tracks=tracks)
            return
        since_us = track.since_us if track is not None else record.start_us
        is_held = end_us - since_us >= rule.for_us
        tracks[record.sensor] = Track(since_us, held=is_held)
        alarm = state.alarm
        if is_held and alarm is None:
            alarm = _raised(rule, record, end_us, rule.severity)
            self._events.append(alarm)
        self._rules[rule.name] = RuleState(tracks=tracks, alarm=alarm)

    def settle(self, name: str, tracks: dict[str, Track], at_us: int, summary: str, cause: str) -> None:
        """Keep these tracks of a rule; clear its alarm if none of them is held."""
        alarm = self._rules[name].alarm
        if alarm is not None and not any(track.held for track in tracks.values()):
            self._events.append(_cleared(alarm, at_us, summary or alarm.summary, cause))
            alarm = None
        self._rules[name] = RuleState(tracks=tracks, alarm=alarm)

    def _holds(self, rule: Rule, condition: Condition, record: Anomaly | Aggregate) -> bool | None:
        """Whether it holds; None where it has no value, which neither raises nor clears."""
        try:
            return condition(record)
        except EvaluationError as error:
            self._failed[rule.name] = str(error)
            return None


def _raised(rule: Rule, record: Anomaly | Aggregate, at_us: int, severity: Severity) -> AlarmEvent:
    alarm = f"{rule.name}:{record.tenant}/{record.device}:{at_us}:{_digest(record)}"
    return AlarmEvent(
        id=f"{alarm}:{AlarmPhase.RAISED}",
        alarm=alarm,
        phase=AlarmPhase.RAISED,
        rule=rule.name,
        tenant=record.tenant,
        site=record.site,
        device=record.device,
        severity=severity,
        raised_us=at_us,
        at_us=at_us,
        summary=rule.summary(record),
        cause=record.id,
        labels=dict(rule.labels),
    )


def _cleared(alarm: AlarmEvent, at_us: int, summary: str, cause: str) -> AlarmEvent:
    return replace(
        alarm,
        id=f"{alarm.alarm}:{AlarmPhase.CLEARED}",
        phase=AlarmPhase.CLEARED,
        at_us=max(at_us, alarm.raised_us),
        summary=summary,
        cause=cause,
    )


def _digest(record: Anomaly | Aggregate) -> str:
    """Tells apart alarms of one rule, device and event time: raised, cleared by a correction and raised again."""
    return blake2b(f"{record.id}#{record.revision}".encode(), digest_size=4).hexdigest()
