"""The judge of a row: what the devices were promised against what stands in Kafka, InfluxDB and at the webhook.

Knows the contract (docs/guide.md, docs/rules.md, design.md) and nothing of Weir's code. `judge` gathers and judges;
`judge_evidence` is the pure part, `account.py` what it does for each device.
"""

import time
from collections.abc import Sequence
from typing import Final

from tests.faults.drill.account import SHOWN_WITHIN_US, Account
from tests.faults.drill.alarms_oracle import judge_posts
from tests.faults.drill.diary import FleetRecord
from tests.faults.drill.evidence import Evidence, Post
from tests.faults.drill.influx_reader import InfluxReader
from tests.faults.drill.kafka_log import KafkaLog
from tests.faults.drill.told import event_us, story
from tests.faults.drill.verdict import Verdict
from tests.faults.drill.windows_oracle import HORIZON_US
from tests.faults.drill.workload import Workload

IDLE_EMIT_S: Final = 20.0
"""Weir's default for how long a device is silent before its open windows are shown."""


def judge(
    workload: Workload,
    record: FleetRecord,
    influx: InfluxReader,
    kafka: KafkaLog,
    *,
    gaps_allowed: bool,
    posts: Sequence[Post] | None = None,
    idle_emit_s: float = IDLE_EMIT_S,
) -> Verdict:
    """Judge a row whose pipeline is drained. Reads what is new in Kafka first; may be called again later.

    `gaps_allowed`: whether messages may be lost before Weir has them, if it says so (only where Mosquitto is killed).
    `posts`: what came to the webhook, None where there is none. Nothing is open any more after `windows_due_us`.
    """
    now_us = time.time_ns() // 1000
    kafka.read()
    evidence = Evidence(posts=None if posts is None else list(posts))
    kafka.fill(evidence, workload.device_ids)
    influx.fill(evidence, workload.site)
    return judge_evidence(workload, record, evidence, gaps_allowed=gaps_allowed, now_us=now_us, idle_emit_s=idle_emit_s)


def windows_due_us(record: FleetRecord, idle_emit_s: float = IDLE_EMIT_S) -> int:
    """When, by the wall clock (µs), every window of a fleet that has stopped just now is closed or shown for good.

    The record's clocks are the devices'; those that run ahead by more than 5 min are taken for the bridge's.
    """
    stopped_us = time.time_ns() // 1000
    widest_us = max(HORIZON_US)
    ends = [0]
    for sent in record.sent.values():
        last_us = event_us(max(sent.values(), default=0), stopped_us)
        ends.append(last_us - last_us % widest_us + widest_us)
    return max(*ends, stopped_us + round(idle_emit_s * 1e6)) + SHOWN_WITHIN_US


def judge_evidence(
    workload: Workload,
    record: FleetRecord,
    evidence: Evidence,
    *,
    gaps_allowed: bool,
    now_us: int,
    idle_emit_s: float = IDLE_EMIT_S,
) -> Verdict:
    """The pure part of `judge`; `now_us` is when the evidence was gathered, at the latest (wall clock)."""
    verdict = Verdict()
    for device_index in range(workload.devices):
        told = story(workload, device_index, evidence.raw.get(workload.device_id(device_index), []), record)
        Account(verdict, workload, device_index, told, record, evidence).judge(
            gaps_allowed=gaps_allowed, now_us=now_us, idle_emit_s=idle_emit_s
        )
    if evidence.posts is not None:
        alarms = [entry for entries in evidence.alarms.values() for entry in entries]
        verdict.add(judge_posts(workload.device_ids, alarms, evidence.posts))
    return verdict
