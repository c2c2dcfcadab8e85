"""One pass over recordings, and what is to be said of it."""

import random
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from services.evaluation.series import Series
from services.scoring.device import DeviceScorer
from services.scoring.explain import sentence
from services.scoring.severity import ALARM_LINE
from services.scoring.spec import ModelSpec

_DAY_US = 86_400_000_000
_RESAMPLES = 2_000


class Alarm(NamedTuple):
    """An alarm: the row, its score, and what it says."""

    row: int
    score: float
    sentence: str


class Pass(NamedTuple):
    """What a model said of one recording, row by row, at what cost.

    `microseconds`: per reading and sensor. `state_bytes`: of the device at the end, as it is checkpointed.
    """

    series: Series
    scores: list[float]
    alarms: list[Alarm]
    microseconds: float
    state_bytes: int


class Judgement(NamedTuple):
    """Rows against labels at the alarm line; shares in [0, 1].

    `windows`: runs of labelled rows; `found`: those with an alarm. `stray`: alarms outside of all windows. `per_week`:
    alarms per device and week of recorded time. `has_labels`: whether all but `per_week` mean anything.
    """

    f1: float
    false_alarm_rate: float
    missed_alarm_rate: float
    windows: int
    found: int
    stray: int
    per_week: float
    has_labels: bool


def run(series: Series, spec: ModelSpec) -> Pass:
    """Score a recording with a new model, each row before it is learnt."""
    scorer = DeviceScorer(spec)
    scores: list[float] = []
    alarms: list[Alarm] = []
    readings = 0
    began = time.perf_counter()
    for row, (event_us, values, _) in enumerate(series.rows):
        said = scorer.update(event_us, values)
        readings += len(values)
        scores.append(said.score)
        if said.alarm_score >= ALARM_LINE:
            text = sentence(series.name, scorer.culprits(), said.alarm_score)
            alarms.append(Alarm(row, said.alarm_score, text))
    took = time.perf_counter() - began
    return Pass(series, scores, alarms, 1e6 * took / max(readings, 1), len(msgspec.msgpack.encode(scorer.to_state())))


def windows_of(series: Series) -> list[tuple[int, int]]:
    """Runs of labelled rows, as (first, last)."""
    found: list[tuple[int, int]] = []
    for row, (_, _, is_anomaly) in enumerate(series.rows):
        if is_anomaly and found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        elif is_anomaly:
            found.append((row, row))
    return found


def judge(passes: Sequence[Pass]) -> Judgement:
    """All recordings together."""
    hits = false = missed = quiet = windows = found = stray = 0
    weeks = 0.0
    for one in passes:
        rows = one.series.rows
        weeks += max(rows[-1].event_us - rows[0].event_us, 0) / (7 * _DAY_US)
        for score, row in zip(one.scores, rows, strict=True):
            over = score >= ALARM_LINE
            hits += over and row.is_anomaly
            false += over and not row.is_anomaly
            missed += not over and row.is_anomaly
            quiet += not over and not row.is_anomaly
        for first, last in windows_of(one.series):
            windows += 1
            found += any(first <= alarm.row <= last for alarm in one.alarms)
        stray += sum(not rows[alarm.row].is_anomaly for alarm in one.alarms)
    alarms = sum(len(one.alarms) for one in passes)
    return Judgement(
        f1=2 * hits / max(2 * hits + false + missed, 1),
        false_alarm_rate=false / max(false + quiet, 1),
        missed_alarm_rate=missed / max(missed + hits, 1),
        windows=windows,
        found=found,
        stray=stray,
        per_week=alarms / weeks if weeks else 0.0,
        has_labels=any(one.series.has_labels for one in passes),
    )


def interval_of_difference(passes: Sequence[Pass], others: Sequence[Pass]) -> tuple[float, float]:
    """95 % bootstrap interval of F1 of `passes` less F1 of `others`, over recordings (the same, in the same order).

    Resampled 2,000 times with a fixed seed. Both ends are the difference itself for a single recording: one recording
    says nothing about others.
    """
    counts = [(_counts(one), _counts(other)) for one, other in zip(passes, others, strict=True)]
    rng = random.Random(1)
    found = sorted(
        _f1([pair[0] for pair in drawn]) - _f1([pair[1] for pair in drawn])
        for drawn in (rng.choices(counts, k=len(counts)) for _ in range(_RESAMPLES))
    )
    return found[int(0.025 * _RESAMPLES)], found[int(0.975 * _RESAMPLES) - 1]


def _counts(one: Pass) -> tuple[int, int]:
    hits = wrong = 0
    for score, row in zip(one.scores, one.series.rows, strict=True):
        over = score >= ALARM_LINE
        hits += over and row.is_anomaly
        wrong += over != row.is_anomaly
    return hits, wrong


def _f1(counts: Sequence[tuple[int, int]]) -> float:
    hits = sum(count[0] for count in counts)
    wrong = sum(count[1] for count in counts)
    return 2 * hits / max(2 * hits + wrong, 1)
