"""Rules: what an engineer writes in YAML, checked as a whole and compiled once. `docs/rules.md` is the guide."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Final

from schemas.anomaly import Anomaly
from schemas.influx import SECOND_US
from schemas.mqtt import SENSOR
from schemas.telemetry import Aggregate, Severity
from services.alerts import fields
from services.alerts.condition import Condition, ConditionRefused
from services.alerts.rule_files import Entry, Problems, RawRule, read_folder, read_text
from services.alerts.template import Template, TemplateRefused
from services.runtime.errors import ConfigurationError


class Source(StrEnum):
    """Which records a rule is asked about."""

    ANOMALIES = "anomalies"
    AGGREGATES = "aggregates"


class Channel(StrEnum):
    """How people learn of an alarm."""

    LOG = "log"
    WEBHOOK = "webhook"
    MQTT = "mqtt"


FIELDS: Final = {Source.ANOMALIES: fields.of_record(Anomaly), Source.AGGREGATES: fields.of_record(Aggregate)}
WINDOWS: Final = {"10s": 10 * SECOND_US, "1m": 60 * SECOND_US, "5m": 300 * SECOND_US}
MAX_RULES: Final = 500

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_KEYS = (
    "name",
    "source",
    "when",
    "clear",
    "for",
    "window",
    "sensor",
    "severity",
    "summary",
    "labels",
    "channels",
)
_DEFAULT_SUMMARY = {
    Source.ANOMALIES: "{device}: {sentence}",
    Source.AGGREGATES: "{device}: {sensor} has mean {mean:.3g}, min {min:.3g}, max {max:.3g}",
}


@dataclass(frozen=True)
class Rule:
    """One rule. `follows_severity`: the anomaly's, not `severity`. `sensors` empty: all; `window_us` 0: anomalies."""

    name: str
    source: Source
    when: Condition
    summary: Template
    clear: Condition | None = None
    for_us: int = 0
    window_us: int = 0
    sensors: frozenset[str] = frozenset()
    severity: Severity = Severity.WARNING
    follows_severity: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    channels: frozenset[Channel] = frozenset(Channel)

    def is_about(self, aggregate: Aggregate) -> bool:
        """Whether the rule asks about this window's width and sensor."""
        return self.window_us == aggregate.width_us and (not self.sensors or aggregate.sensor in self.sensors)


class Rules:
    """All rules that are in force."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.by_name = {rule.name: rule for rule in rules}
        self.anomalies = tuple(r for r in self.by_name.values() if r.source is Source.ANOMALIES)
        self._by_width: dict[int, tuple[Rule, ...]] = {
            width: tuple(r for r in self.by_name.values() if r.source is Source.AGGREGATES and r.window_us == width)
            for width in WINDOWS.values()
        }

    def about(self, aggregate: Aggregate) -> tuple[Rule, ...]:
        """The rules that ask about this window's width and sensor."""
        return tuple(rule for rule in self._by_width.get(aggregate.width_us, ()) if rule.is_about(aggregate))


def load(folder: Path) -> Rules:
    """Read and check a folder of rules.

    Raises:
        ConfigurationError: Names every problem with file, line and rule; or the folder holds no rule.
    """
    problems = Problems()
    rules = _check_all(read_folder(folder, problems), problems)
    problems.raise_any()
    if not rules:
        raise ConfigurationError(f"{folder} holds no rule; write one (docs/rules.md), or do not run alerts")
    return Rules(rules)


def parse(text: str, file: str = "rules.yaml") -> Rules:
    """Check the rules of one file's text.

    Raises:
        ConfigurationError: Names every problem with file, line and rule.
    """
    problems = Problems()
    rules = _check_all(list(read_text(text, file, problems)), problems)
    problems.raise_any()
    return Rules(rules)


def _check_all(raw_rules: list[RawRule], problems: Problems) -> list[Rule]:
    rules: dict[str, Rule] = {}
    for raw in raw_rules:
        rule = _Checker(raw, problems).rule()
        if rule is None:
            continue
        if rule.name in rules:
            problems.add(f"{raw.file}:{raw.line}", f"rule {rule.name!r}: the name is taken by another rule")
        rules[rule.name] = rule
    if len(rules) > MAX_RULES:
        problems.add(raw_rules[-1].file, f"{len(rules)} rules; the limit is {MAX_RULES}")
    return list(rules.values())


class _Checker:
    """Makes one rule of what stands in the file; goes on after a problem, to find them all."""

    def __init__(self, raw: RawRule, problems: Problems) -> None:
        self._raw = raw
        self._problems = problems
        self._wrong = False
        name = raw.entries.get("name")
        self._name = name.value if name is not None else None

    def rule(self) -> Rule | None:
        """The rule, or None where a problem was recorded."""
        for key, entry in self._raw.entries.items():
            if key not in _KEYS:
                near = get_close_matches(key, _KEYS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_KEYS)}"
                self._problem(entry, f"unknown key {key!r}; {hint}")
        name = self._text("name", required=True)
        if name is not None and not _NAME.fullmatch(name):
            self._problem(self._entry("name"), f"name {name!r} is not made of a-z, 0-9 and -, up to 63")
        source = self._source()
        when, clear = self._condition("when", source), self._condition("clear", source)
        if "when" not in self._raw.entries:
            self._problem(None, "`when` is missing")
        made = {
            "for_us": self._for(),
            "window_us": self._window(source),
            "sensors": self._sensors(source),
            "severity": self._severity(),
            "follows_severity": self._follows_severity(source),
            "labels": self._labels(),
            "channels": self._channels(),
        }
        summary = self._summary(source)
        if self._wrong or name is None or source is None or when is None or summary is None:
            return None
        # Each of `made` has the type of its field.
        return Rule(name=name, source=source, when=when, clear=clear, summary=summary, **made)  # type: ignore[arg-type]

    def _entry(self, key: str) -> Entry | None:
        return self._raw.entries.get(key)

    def _problem(self, entry: Entry | None, message: str) -> None:
        self._wrong = True
        line = entry.line if entry is not None else self._raw.line
        named = f"rule {self._name!r}" if isinstance(self._name, str) else "rule without a name"
        self._problems.add(f"{self._raw.file}:{line}", f"{named}: {message}")

    def _text(self, key: str, *, required: bool = False) -> str | None:
        entry = self._entry(key)
        if entry is None:
            if required:
                self._problem(None, f"`{key}` is missing")
            return None
        if not isinstance(entry.value, str):
            self._problem(entry, f"`{key}` is text, not {entry.value!r}; put it in quotes")
            return None
        return entry.value

    def _source(self) -> Source | None:
        text = self._text("source", required=True)
        if text is None:
            return None
        if text not in list(Source):
            self._problem(self._entry("source"), f"source {text!r} is not one of {', '.join(Source)}")
            return None
        return Source(text)

    def _condition(self, key: str, source: Source | None) -> Condition | None:
        text = self._text(key)
        if text is None or source is None:
            return None
        try:
            return Condition(text, FIELDS[source])
        except ConditionRefused as refused:
            for problem in refused.problems:
                self._problem(self._entry(key), f"`{key}`, column {problem.column} of {text!r}: {problem.message}")
            return None

    def _summary(self, source: Source | None) -> Template | None:
        if source is None:
            return None
        text = self._text("summary") if "summary" in self._raw.entries else _DEFAULT_SUMMARY[source]
        if text is None:
            return None
        try:
            return Template(text, FIELDS[source])
        except TemplateRefused as refused:
            self._problem(self._entry("summary"), f"`summary`: {refused}")
            return None

    def _for(self) -> int:
        entry = self._entry("for")
        if entry is None:
            return 0
        match = _DURATION.fullmatch(entry.value) if isinstance(entry.value, str) else None
        if match is None:
            self._problem(entry, f"`for` is a duration like 30s, 5m, 2h or 1d, not {entry.value!r}")
            return 0
        return int(match[1]) * _UNITS[match[2]] * SECOND_US

    def _window(self, source: Source | None) -> int:
        if source is Source.ANOMALIES:
            self._only_for_aggregates("window")
            return 0
        text = self._text("window") if "window" in self._raw.entries else "10s"
        if text is not None and text not in WINDOWS:
            self._problem(self._entry("window"), f"`window` is one of {', '.join(WINDOWS)}, not {text!r}")
        return WINDOWS.get(text or "", 0)

    def _sensors(self, source: Source | None) -> frozenset[str]:
        entry = self._entry("sensor")
        if entry is None:
            return frozenset()
        if source is Source.ANOMALIES:
            self._only_for_aggregates("sensor")
            return frozenset()
        names = entry.value if isinstance(entry.value, list) else [entry.value]
        if not names or not all(isinstance(n, str) and SENSOR.fullmatch(n) for n in names):
            self._problem(entry, f"`sensor` is a sensor's name or a list of them, not {entry.value!r}")
            return frozenset()
        return frozenset(names)

    def _only_for_aggregates(self, key: str) -> None:
        if entry := self._entry(key):
            self._problem(entry, f'`{key}` is for aggregates; in `when`, write `culprit == "temperature"`')

    def _follows_severity(self, source: Source | None) -> bool:
        entry = self._entry("severity")
        if entry is None:
            return source is Source.ANOMALIES
        if entry.value == {"from": "severity"} and source is Source.AGGREGATES:
            self._problem(entry, "an aggregate has no severity; write notice, warning or critical")
        return bool(entry.value == {"from": "severity"})

    def _severity(self) -> Severity:
        entry = self._entry("severity")
        if entry is None or entry.value == {"from": "severity"}:
            return Severity.WARNING
        if entry.value not in (Severity.NOTICE, Severity.WARNING, Severity.CRITICAL):
            self._problem(entry, "`severity` is notice, warning, critical, or {from: severity} (the anomaly's)")
            return Severity.WARNING
        return Severity(entry.value)

    def _labels(self) -> Mapping[str, str]:
        entry = self._entry("labels")
        if entry is None:
            return {}
        pairs = entry.value
        if not isinstance(pairs, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in pairs.items()):
            self._problem(entry, "`labels` are `key: text`; put numbers, yes and no in quotes")
            return {}
        return pairs

    def _channels(self) -> frozenset[Channel]:
        entry = self._entry("channels")
        if entry is None:
            return frozenset(Channel)
        names = entry.value
        if not isinstance(names, list) or not names or not all(name in list(Channel) for name in names):
            self._problem(entry, f"`channels` is a list of {', '.join(Channel)}, not {names!r}")
            return frozenset()
        return frozenset(Channel(name) for name in names)
