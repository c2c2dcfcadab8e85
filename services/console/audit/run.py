"""`weir audit`: notes once how far stream and sink have come, audits partition after partition, tells the result."""

import sys
import time
from collections.abc import Callable

import msgspec

from schemas import topics
from schemas.telemetry import Gap
from services.console import ending, local_stack
from services.console.audit import report
from services.console.audit.account import Account
from services.console.audit.compare import Difference, comparable, differences
from services.console.audit.gaps import GapTally
from services.console.audit.partition import PartitionAudit
from services.console.audit.ranges import ranges_of
from services.console.audit.report import Report
from services.console.device_ledgers import DeviceLedgers
from services.console.influx import Influx
from services.console.log_slices import LogSlices, Slice
from services.runtime import settings
from services.runtime.errors import ConfigurationError, ExitCode
from services.runtime.routes import load_routes
from services.runtime.settings import ToolSettings

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
    if options.since_us is not None and options.until_us is not None and options.since_us >= options.until_us:
        raise ConfigurationError("--since is not before --until")
    local_stack.adopt()
    told = settings.load(ToolSettings)
    log = LogSlices(told.kafka)
    progress = _Progress() if not options.as_json and sys.stderr.isatty() else None
    try:
        found = audit(told, log, options, progress or (lambda _: None))
        if options.device is not None and not found.account.devices and not found.account.messages_in_flight:
            raise ConfigurationError(
                f"no message of a device {options.device!r} is in this range; `weir status --devices` names the devices"
            )
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
    applied = log.committed(told.stream.group, told.kafka.topic_prefix + topics.RAW)
    stored = log.committed(told.sink.group, told.kafka.topic_prefix + topics.CLEAN)
    account, different, removed = Account(), list[Difference](), dict[int, int]()
    compared = 0
    for partition in log.partitions(topics.RAW):
        # The order matters: what was committed, or stands in the state, lies whole within ends asked for afterwards.
        state = _state(log, partition, progress)
        of = ranges_of(
            log,
            partition,
            applied=applied.get(partition, 0),
            stored=stored.get(partition, 0),
            since_us=options.since_us,
            until_us=options.until_us,
        )
        if of.raw.is_cut:
            removed[partition] = of.raw.judged
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
        if of.raw.whole:
            ledgers = comparable(dict(state), options.device)
            if ledgers is not None:
                compared += len(ledgers)
                different += differences(partition, each.ledgers, ledgers)
    return Report(
        ok=account.ok and not different,
        since_us=options.since_us,
        until_us=options.until_us,
        device=options.device,
        account=account,
        gaps=_gaps(log, options).sum(),
        removed=removed,
        compared=compared,
        differences=different,
        seconds=time.monotonic() - began,
    )


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
