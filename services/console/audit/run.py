"""`weir audit`: notes once how far stream and sink have come, audits partition after partition, tells the result."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from schemas import topics
from schemas.telemetry import Gap
from services.console import ending, local_stack
from services.console.audit import report
from services.console.audit.account import Account
from services.console.audit.compare import Difference, differences
from services.console.audit.gaps import GapTally
from services.console.audit.partition import PartitionAudit, Range, Ranges
from services.console.audit.report import Report
from services.console.device_ledgers import DeviceLedgers
from services.console.influx import Influx
from services.console.log_slices import LogSlices, Slice
from services.runtime import settings
from services.runtime.clock import now_us
from services.runtime.errors import ConfigurationError, ExitCode
from services.runtime.routes import load_routes
from services.runtime.settings import ToolSettings
from services.stream.clock_rules import MAX_LEAD_US

LOOK_BACK_US: Final = 600_000_000
"""So much before the range is read too, so that repeats of messages from there are known."""

Progress = Callable[[str], None]

_decode_gap = msgspec.json.Decoder(Gap).decode


class AuditOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `weir audit` is told. Times are unix µs by which messages came; None: no bound."""

    since_us: int | None = None
    until_us: int | None = None
    device: str | None = None
    """`tenant/device`."""
    as_json: bool = False


def run(options: AuditOptions) -> int:
    """Audit and print; 0 where everything is accounted for."""
    if None not in (options.since_us, options.until_us) and options.since_us >= options.until_us:  # type: ignore[operator]
        raise ConfigurationError("--since is not before --until")
    local_stack.adopt()
    told = settings.load(ToolSettings)
    log = LogSlices(told.kafka)
    progress = _Progress() if not options.as_json and sys.stderr.isatty() else None
    try:
        found = audit(told, log, options, progress or (lambda _: None))
    finally:
        log.close()
        if progress is not None:
            progress.clear()
    sys.stdout.write((report.to_json(found) if options.as_json else report.tell(found)) + "\n")
    return ExitCode.OK if found.ok else ending.PROBLEM


def audit(told: ToolSettings, log: LogSlices, options: AuditOptions, progress: Progress) -> Report:
    """The whole audit."""
    began = time.monotonic()
    influx = Influx(told.influx)
    routes = load_routes(told.stream.routes_file or told.bridge.routes_file)
    ranges = _ranges(told, log, options)
    account, different = Account(), list[Difference]()
    compared = 0
    for partition, of in ranges.items():
        state = _state(log, partition, progress)
        each = PartitionAudit(
            partition,
            of,
            log,
            lambda query: influx.points(told.influx.bucket, query),
            routes,
            prefix=told.kafka.topic_prefix,
            device=options.device,
            state=state,
        )
        account.add(each.run(progress))
        if of.raw.whole and options.until_us is None:
            stored = {key: ledger for key, ledger in state if options.device in (None, key)}
            compared += len(stored)
            different += differences(partition, each.ledgers, stored)
    return Report(
        ok=account.ok and not different,
        since_us=options.since_us,
        until_us=options.until_us,
        device=options.device,
        account=account,
        gaps=_gaps(log, options).sum(),
        removed={p: of.raw.judged for p, of in ranges.items() if of.raw.is_cut},
        compared=compared,
        differences=different,
        seconds=time.monotonic() - began,
    )


def _ranges(told: ToolSettings, log: LogSlices, options: AuditOptions) -> Mapping[int, Ranges]:
    # The order matters: what was committed before the ends were asked for lies whole within them.
    applied = log.committed(told.stream.group, told.kafka.topic_prefix + topics.RAW)
    stored = log.committed(told.sink.group, told.kafka.topic_prefix + topics.CLEAN)
    partitions = log.partitions(topics.RAW)
    letters, clean, raw = (log.bounds(topic, partitions) for topic in (topics.DEAD_LETTER, topics.CLEAN, topics.RAW))
    raws = _of_topic(log, topics.RAW, raw, applied, options)
    cleans = _of_topic(log, topics.CLEAN, clean, stored, msgspec.structs.replace(options, until_us=None))
    since = options.since_us
    first_letters = {} if since is None else log.offsets_at(topics.DEAD_LETTER, since - LOOK_BACK_US, letters)
    return {
        p: Ranges(
            raws[p],
            cleans[p],
            Slice(first_letters.get(p, letters[p].first), letters[p].end),
            _complete_since_us(log, p, clean[p]),
        )
        for p in partitions
    }


def _of_topic(
    log: LogSlices, topic: str, there: Mapping[int, Slice], committed: Mapping[int, int], options: AuditOptions
) -> dict[int, Range]:
    since, until = options.since_us, options.until_us
    firsts = {} if since is None else log.offsets_at(topic, since - LOOK_BACK_US, there)
    judged = {} if since is None else log.offsets_at(topic, since, there)
    ends = {} if until is None else log.offsets_at(topic, until, there)
    return {
        p: Range(
            Slice(firsts.get(p, all_.first), ends.get(p, all_.end)),
            judged=judged.get(p, all_.first),
            committed=committed.get(p, 0),
            whole=judged.get(p, all_.first) == 0,
            is_cut=0 < all_.first == judged.get(p, all_.first),
        )
        for p, all_ in there.items()
    }


def _complete_since_us(log: LogSlices, partition: int, there: Slice) -> int:
    if there.first == 0:
        return 0
    oldest_us = log.written_us(topics.CLEAN, partition, there)
    # A clock may run ahead: a reading can be written so long before its event time.
    return now_us() if oldest_us is None else oldest_us + MAX_LEAD_US


def _state(log: LogSlices, partition: int, progress: Progress) -> DeviceLedgers:
    progress(f"partition {partition}: state")
    state = DeviceLedgers(partition)
    there = log.bounds(topics.STREAM_STATE, [partition])[partition]
    for message in log.read(topics.STREAM_STATE, partition, there):
        state.take(message.key() or b"", message.value())
    return state


def _gaps(log: LogSlices, options: AuditOptions) -> GapTally:
    tally = GapTally()
    there = log.bounds(topics.GAPS, log.partitions(topics.GAPS))
    firsts = {} if options.since_us is None else log.offsets_at(topics.GAPS, options.since_us, there)
    for partition, all_ in there.items():
        for message in log.read(topics.GAPS, partition, Slice(firsts.get(partition, all_.first), all_.end)):
            if options.device is None or (message.key() or b"").decode() == options.device:
                tally.take(_decode_gap(message.value() or b""))
    return tally


class _Progress:
    """One line on stderr that is written over."""

    def __call__(self, what: str) -> None:
        sys.stderr.write(f"\r\x1b[K{what} …")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave no trace."""
        sys.stderr.write("\r\x1b[K")
