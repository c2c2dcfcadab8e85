"""`weir status`: what runs, how fast, how far behind, and whether every message is accounted for."""

import sys
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from deploy.local.stack import Stack
from schemas import topics
from services.console import ending, groups, local_stack, programs
from services.console.groups import GroupLag
from services.console.health_probe import HealthProbe
from services.console.influx import shown_url
from services.console.pulse import SILENT_US, Pulse, Vital, adds_up, verdict
from services.console.records import Reader, kafka_answers
from services.console.status_view import print_status
from services.runtime import kafka, settings
from services.runtime.clock import now_us
from services.runtime.errors import ExitCode, Unavailable
from services.runtime.settings import ToolSettings
from services.stream.ledger import Ledger

_LOOK_BACK_US: Final = 60_000_000


class ServiceStatus(msgspec.Struct, frozen=True):
    """One service. `state` and `pid` are the supervisor's, where a local stack runs; `vital` None: no report yet."""

    ready: bool
    says: str
    state: str | None
    pid: int | None
    vital: Vital | None


class Status(msgspec.Struct, frozen=True):
    """All that was found. `problems` is empty where everything is fine; each names its fix."""

    ok: bool
    problems: list[str]
    run_dir: str | None
    addresses: dict[str, str]
    servers: dict[str, str]
    services: dict[str, ServiceStatus]
    groups: list[GroupLag]
    ledger: Ledger
    ledger_known: bool
    ledger_verdict: str
    dead_letters: dict[str, int]
    gap_messages: int


def run(*, as_json: bool) -> int:
    """Look at everything once; 0 where all is fine."""
    stack = local_stack.adopt()
    told = settings.load(ToolSettings)
    found = look(told, stack)
    if as_json:
        sys.stdout.write(to_json(found) + "\n")
    else:
        print_status(found)
    return ExitCode.OK if found.ok else ending.PROBLEM


def to_json(status: Status) -> str:
    """For programs: named fields throughout, also of the ledger."""
    plain = msgspec.to_builtins(status)
    ledger = status.ledger
    plain["ledger"] = {name: getattr(ledger, name) for name in ledger.__struct_fields__} | {
        "missing_messages": ledger.missing_messages,
        "missing_readings": ledger.missing_readings,
        "verdict": status.ledger_verdict,
    }
    del plain["ledger_verdict"]
    plain["groups"] = {each.group: {"members": each.members, "lag": each.topics} for each in status.groups}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def look(told: ToolSettings, stack: Stack | None) -> Status:
    """Ask the supervisor, the services and Kafka."""
    problems: list[str] = []
    states = stack.states() if stack else {}
    probe = HealthProbe(programs.http_ports(told))
    answers = {name: probe.ask(name) for name in programs.SERVICES}
    pulse, behind = Pulse(), list[GroupLag]()
    try:
        pulse = _pulse(told)
        behind = _lags(told)
    except Unavailable as error:
        problems.append(str(error))
    services = {
        name: ServiceStatus(
            ready=answers[name].ok,
            says=answers[name].text(),
            state=states[name].state if name in states else None,
            pid=states[name].pid or None if name in states else None,
            vital=pulse.vital(name),
        )
        for name in programs.SERVICES
    }
    problems += _problems(services, {name: answer.reached for name, answer in answers.items()}, pulse, stack)
    ledger = pulse.ledger()
    if not adds_up(ledger):
        problems.append(
            f"ledger: {verdict(ledger)}; look again in a moment: a difference that stays is a loss, keep the logs"
        )
    return Status(
        ok=not problems,
        problems=problems,
        run_dir=str(stack.run_dir) if stack else None,
        addresses={
            "mqtt": f"{told.mqtt.host}:{told.mqtt.port}",
            "kafka": told.kafka.bootstrap,
            "influxdb": shown_url(told.influx.url),
        },
        servers={name: state.state for name, state in states.items() if name not in services},
        services=services,
        groups=behind,
        ledger=ledger,
        ledger_known=pulse.knows_ledger,
        ledger_verdict=verdict(ledger) if pulse.knows_ledger else "not known: no stream worker has reported its own",
        dead_letters=pulse.dead_letters(),
        gap_messages=pulse.missing_messages(),
    )


def _pulse(told: ToolSettings) -> Pulse:
    reader, pulse = Reader(told.kafka), Pulse()
    try:
        for entry in reader.since(topics.METRICS, now_us() - _LOOK_BACK_US):
            if entry.record is not None:
                pulse.add(entry.record)
    finally:
        reader.close()
    return pulse


def _lags(told: ToolSettings) -> list[GroupLag]:
    client = kafka.admin(told.kafka)
    names = [told.stream.group, told.sink.group, told.alerts.group]
    with kafka_answers(told.kafka):
        there = client.list_topics(timeout=10).topics
        ours = {
            told.kafka.topic_prefix + t.name: sorted(there[told.kafka.topic_prefix + t.name].partitions)
            for t in topics.ALL
            if told.kafka.topic_prefix + t.name in there
        }
        return groups.lags(told.kafka, names, ours)


def _problems(
    services: Mapping[str, ServiceStatus], reached: Mapping[str, bool], pulse: Pulse, stack: Stack | None
) -> list[str]:
    found = []
    for name, service in services.items():
        log = f" (log: {stack.log_path(name)})" if stack else ""
        if not reached[name]:
            fix = f"start it with `weir up` or `weir {name}`" if stack is None else "its log says why"
            found.append(f"{name}: {service.says}; {fix}, or set WEIR_{name.upper()}__HTTP_PORT{log}")
        elif not service.ready:
            found.append(f"{name} waits: {service.says}{log}")
        newest = pulse.newest_us(name)
        if reached[name] and newest is not None and time.time() * 1e6 - newest > SILENT_US:
            found.append(f"{name} has not reported for {time.time() - newest / 1e6:.0f} s{log}")
    return found
