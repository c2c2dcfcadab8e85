"""Alarms, predicted: by the limit on `level` from the windows, by the rule on anomalies from the anomalies.

The rules are those of `rules/drill.yaml`. The promise (docs/rules.md): one alarm per rule and device, never two; raised
and cleared once each; at the webhook at least once, repeats with the same key and bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.faults.drill.evidence import Entry, Post, distinct
from tests.faults.drill.windows_oracle import SECOND_US, DeviceWindows
from tests.faults.drill.workload import LEVEL_LIMIT, TENANT

LEVEL_RULE: Final = "level-high"
"""On aggregates of 10 s of `level`: max > LEVEL_LIMIT."""
ANOMALY_RULE: Final = "anomaly"
"""On anomalies: score >= 0.5, so that each anomaly is an alarm."""

RAISED: Final = "raised"
CLEARED: Final = "cleared"


class Step(NamedTuple):
    """One event in an alarm's life, as it must come: rule, phase, event time."""

    rule: str
    phase: str
    at_us: int


@dataclass
class Findings:
    """What was wrong with the alarms of a device; `predicted` counts alarms that had to be raised."""

    predicted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def level_steps(windows: DeviceWindows) -> list[Step]:
    """What the limit on `level` makes of a device's windows, in the order in which they were emitted.

    A correction counts while its window is the last one; one of an older window changes no alarm.
    """
    steps: list[Step] = []
    last, is_raised = (-1, -1), False
    for page, revision, messages in windows.emissions:
        if page.width_us != 10 * SECOND_US or (page.start_us, revision) <= last:
            continue
        last = (page.start_us, revision)
        is_high = max(message.values["level"] for message in page.told[:messages]) > LEVEL_LIMIT
        if is_high != is_raised:
            is_raised = is_high
            steps.append(Step(LEVEL_RULE, RAISED if is_high else CLEARED, page.end_us))
    return steps


def anomaly_steps(anomalies: Iterable[dict[str, Any]]) -> list[Step]:
    """What the rule on anomalies makes of a device's anomalies (repeats dropped, in order)."""
    return [
        Step(ANOMALY_RULE, RAISED if anomaly["phase"] == "opened" else CLEARED, anomaly["event_us"])
        for anomaly in anomalies
        if anomaly["phase"] in ("opened", "closed")
    ]


def judge_anomalies(device: str, anomalies: Sequence[dict[str, Any]]) -> Findings:
    """One anomaly of a device at a time, each opened once and closed at most once, its revisions without a hole."""
    found = Findings()
    by_anomaly: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in anomalies:
        by_anomaly[record["anomaly"]].append(record)
    for name, records in by_anomaly.items():
        if [record["revision"] for record in records] != list(range(len(records))):
            found.wrong.append(f"{device}: the anomaly {name} has revisions {[r['revision'] for r in records]}")
        phases = [record["phase"] for record in records]
        if phases[0] != "opened" or phases.count("opened") > 1 or "closed" in phases[:-1]:
            found.wrong.append(f"{device}: the anomaly {name} went through {phases}")
    opened = [records for records in by_anomaly.values() if records[-1]["phase"] != "closed"]
    if len(opened) > 1:
        found.doubled.append(f"{device}: {len(opened)} anomalies are open at once")
    return found


def judge_alarms(device: str, expected: Iterable[Step], alarms: Sequence[dict[str, Any]]) -> Findings:
    """Each step once, none else; `alarms` without repeats, in the order of the log."""
    found = Findings()
    wanted = list(expected)
    found.predicted = sum(step.phase == RAISED for step in wanted)
    got = [Step(alarm["rule"], alarm["phase"], alarm["at_us"]) for alarm in alarms]
    times = Counter(got)
    found.lost += [f"{device}: no alarm event {step}" for step in wanted if step not in times]
    found.doubled += [f"{device}: {count} alarm events {step}" for step, count in times.items() if count > 1]
    found.wrong += [f"{device}: an alarm event that nothing asks for: {step}" for step in times if step not in wanted]
    for rule in {step.rule for step in got}:
        phases = [step.phase for step in got if step.rule == rule]
        if phases != [RAISED if turn % 2 == 0 else CLEARED for turn in range(len(phases))]:
            found.wrong.append(f"{device}: alarms of {rule} went through {phases}")
    return found


def judge_posts(devices: Iterable[str], alarms: Iterable[Entry], posts: Sequence[Post]) -> Findings:
    """Every event of these devices came to the webhook; nothing else did; repeats are the same to the byte."""
    found = Findings()
    ours = tuple(f":{TENANT}/{device}:" for device in devices)
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for key, body in posts:
        if any(name in key for name in ours):
            bodies[key].add(body)
    known = {entry.id for entry in distinct(list(alarms)).entries}
    found.lost += [f"the webhook never heard of {key}" for key in sorted(known - bodies.keys())]
    found.wrong += [f"the webhook heard of {key}, which is on no topic" for key in sorted(bodies.keys() - known)]
    found.wrong += [f"the webhook got {len(said)} versions of {key}" for key, said in bodies.items() if len(said) > 1]
    return found
