"""`weir ...`: one command per service, and the commands that look at all of them.

Each command's work is done elsewhere: services in their own folder, everything else in `services/console/`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.operator import Command
from schemas.reasons import Reason, Stage
from services.runtime import core, process
from services.runtime.errors import ExitCode

if TYPE_CHECKING:
    from services.console.dead_letters.letters import Choice

app = typer.Typer(
    name="weir",
    help="Streaming IoT ingestion and online anomaly scoring.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# A service imports its own client libraries only, so that each process starts fast and small. Commands stand in the
# order in which `weir --help` shows them.
SERVICE = "Services, one process each"
STACK = "Everything on this machine"
LOOK = "Looking at what runs"


@app.command(rich_help_panel=SERVICE)
def bridge() -> None:
    """Run the bridge: MQTT -> telemetry.raw."""
    from services.bridge.service import run

    process.run("bridge", run)


@app.command(rich_help_panel=SERVICE)
def stream(
    *,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="With all stream workers stopped: forget their state and leave; then started, they make it anew from "
            "the beginning of telemetry.raw.",
        ),
    ] = False,
) -> None:
    """Run a stream worker: clean, aggregate, score."""
    if rebuild:
        from services.stream.rebuild import run
    else:
        from services.stream.service import run

    process.run("stream", run)


@app.command(rich_help_panel=SERVICE)
def sink() -> None:
    """Run the sink: results -> InfluxDB."""
    from services.sink.service import run

    process.run("sink", run)


@app.command(rich_help_panel=SERVICE)
def alerts() -> None:
    """Run the alerts: rules -> alarms."""
    from services.alerts.service import run

    process.run("alerts", run)


@app.command(rich_help_panel=STACK)
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is ready.")] = False,
    demo: Annotated[
        bool | None,
        typer.Option("--demo/--no-demo", help="Replay real data with faults. Default: yes, but no with --detach."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="Devices of the demo.")] = 12,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until everything must be ready.")] = 180.0,
) -> None:
    """Start Kafka, Mosquitto, InfluxDB and all of Weir, and show live what flows; Ctrl-C ends all of it.

    With --detach it returns when everything is ready, and `weir down` ends it; then no demo runs, unless asked for.
    Data and logs lie in LOCAL_RUN_DIR (default: .run in the checkout). Ports: LOCAL_MQTT_PORT, LOCAL_KAFKA_PORT,
    LOCAL_KAFKA_CONTROLLER_PORT, LOCAL_INFLUX_PORT, and WEIR_BRIDGE__HTTP_PORT and so on.
    """
    from services.console import ending, up

    options = up.UpOptions(
        detach=detach, demo=not detach if demo is None else demo, devices=devices, deadline_s=timeout
    )
    ending.run(lambda: up.up(options))


@app.command(rich_help_panel=STACK)
def down() -> None:
    """Stop what `weir up` started; fine when nothing runs."""
    from services.console import ending, up

    ending.run(up.down)


@app.command(rich_help_panel=STACK)
def replay(
    files: Annotated[
        list[str] | None, typer.Argument(help="Recordings: CSV files, or river:WaterFlow (the default).")
    ] = None,
    *,
    devices: Annotated[int, typer.Option(help="How many devices.")] = 10,
    prefix: Annotated[str, typer.Option(help="Devices are called PREFIX-01, PREFIX-02, ...")] = "pump",
    tenant: Annotated[str, typer.Option(help="Whose devices they are.")] = "demo",
    site: Annotated[list[str] | None, typer.Option(help="Where they stand, in turn; may be given again.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Messages per second and device; 0: as fast as they are taken. Default: 1, or --speed."),
    ] = None,
    speed: Annotated[float | None, typer.Option(help="As recorded, so many times faster.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Event time of the first reading; then replayed once, spaced as recorded.")
    ] = None,
    history: Annotated[int, typer.Option(help="Readings of the past that each device uploads first.")] = 0,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when each device has replayed its recording.")] = False,
    messages: Annotated[int | None, typer.Option(help="Stop after so many live readings of each device.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="kind@device:sensor:at+duration[:size], or random; may be given again."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Write what is anomalous here, as JSON lines.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same values and faults.")] = 1,
    connections: Annotated[int, typer.Option(help="Most MQTT connections.")] = 200,
) -> None:
    """Replay recordings as devices over MQTT, with faults.

    Kinds of faults: spike, step, drift, stuck, drop-out, nan, clock-jump, duplicate, late. Example:
    weir replay pumps.csv --speed 60 --devices 50 --fault step@pump-03:flow:2m+60s:6
    """
    from services.console import ending, replay
    from services.console.times import parse_time
    from services.simulator.options import ReplayOptions

    def command() -> int:
        default = ReplayOptions()
        options = ReplayOptions(
            files=tuple(files) if files else default.files,
            devices=devices,
            prefix=prefix,
            tenant=tenant,
            sites=tuple(site) if site else default.sites,
            rate=default.rate if rate is None and speed is None else rate,
            speed=default.speed if speed is None else speed,
            start_us=None if start is None else parse_time(start),
            history=history,
            duration_s=duration,
            once=once,
            messages=messages,
            faults=tuple(fault or ()),
            labels_file=labels,
            seed=seed,
            connections=connections,
        )
        return replay.run(options)

    ending.run(command)


@app.command(rich_help_panel=LOOK)
def status(
    *,
    devices: Annotated[bool, typer.Option("--devices", help="The ledger of each device instead.")] = False,
    device: Annotated[
        str | None, typer.Option(metavar="TENANT/DEVICE", help="The ledger of this device instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what runs, rates, lag, and the ledger; exit code 0 if everything is fine, else 1.

    With --devices: the ledgers as of the last checkpoint, first those that do not add up, then by dead letters.
    """
    from services.console import device_status, ending, status

    if devices or device is not None:
        ending.run(lambda: device_status.run(device, as_json=as_json))
    ending.run(lambda: status.run(as_json=as_json))


@app.command(rich_help_panel=LOOK)
def tail(
    topic: Annotated[str, typer.Argument(help="A topic; `scores` is short for telemetry.scores.")],
    *,
    device: Annotated[str | None, typer.Option(metavar="TENANT/DEVICE", help="Of this device only.")] = None,
    sensor: Annotated[str | None, typer.Option(help="About this sensor only.")] = None,
    reason: Annotated[str | None, typer.Option(help="Dead letters for this reason only.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")] = True,
    last: Annotated[int, typer.Option(min=0, help="Begin with so many that are there already.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show a topic's records, decoded, as they are written."""
    from services.console import ending, tail

    options = tail.TailOptions(
        topic=topic, device=device, sensor=sensor, reason=reason, follow=follow, last=last, as_json=as_json
    )
    ending.run(lambda: tail.run(options))


@app.command(rich_help_panel=LOOK)
def trace(
    device: Annotated[str, typer.Argument(metavar="TENANT/DEVICE")],
    *,
    at: Annotated[str, typer.Option(metavar="TIME", help="Event time: ISO 8601, or unix time in s, ms or µs.")],
    seq: Annotated[int | None, typer.Option(help="Which one, where several have that time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell one reading's life: MQTT, Kafka, windows, score, anomaly, InfluxDB."""
    from services.console import ending, trace

    ending.run(lambda: trace.run(device, at, seq, as_json=as_json))


@app.command(rich_help_panel=LOOK)
def audit(
    *,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Messages since: 1h, 2d, or a time. Default: all that is there.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Messages before. Default: now.")] = None,
    device: Annotated[str | None, typer.Option(metavar="TENANT/DEVICE", help="Of this device only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Account for every message and reading anew, from Kafka and InfluxDB, and name each that is missing.

    Exit code 0 where everything is accounted for, else 1. It writes nothing; memory is bounded, time is not.
    """
    from services.console import ending
    from services.console.audit import run
    from services.console.times import parse_moment
    from services.runtime.clock import now_us

    def command() -> int:
        now = now_us()
        options = run.AuditOptions(
            since_us=None if since is None else parse_moment(since, now),
            until_us=None if until is None else parse_moment(until, now),
            device=device,
            as_json=as_json,
        )
        return run.run(options)

    ending.run(command)


@app.command(rich_help_panel=LOOK)
def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files, one device each.")],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's name, or a YAML file; more are compared with the first. Default: bands."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of labels. Default: anomaly, label or is_anomaly.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A column that is no sensor.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures to this file.")] = None,
) -> None:
    """Run a model over recorded data, in one pass as in the stream, and say how good it was and what it cost."""
    from services.console import ending
    from services.console.evaluate import evaluate as evaluated

    ending.run(lambda: evaluated(files, models=model or (), label=label, ignore=ignore or (), html=html))


@app.command(rich_help_panel=LOOK)
def doctor() -> None:
    """Check everything that Weir needs, and name the fix of what is wrong; exit code 0 or 1."""
    from services.console import doctor, ending

    ending.run(doctor.run)


dead_letter = typer.Typer(help="What could not be processed: list it, look at it, send it again.", no_args_is_help=True)
app.add_typer(dead_letter, name="dead-letter", rich_help_panel=LOOK)

_REASON = Annotated[Reason | None, typer.Option(help="For this reason only.")]
_STAGE = Annotated[Stage | None, typer.Option(help="Refused at this stage only.")]
_DEVICE = Annotated[str | None, typer.Option(metavar="TENANT/DEVICE", help="Of this device only.")]
_SINCE = Annotated[str | None, typer.Option(metavar="TIME", help="Written since: 1h, 2d, or a time.")]
_UNTIL = Annotated[str | None, typer.Option(metavar="TIME", help="Written before.")]


def _choice(
    reason: Reason | None, stage: Stage | None, device: str | None, since: str | None, until: str | None
) -> "Choice":
    from services.console.dead_letters.letters import Choice
    from services.console.times import parse_moment
    from services.runtime.clock import now_us

    return Choice(
        reason=reason,
        stage=stage,
        device=device,
        since_us=None if since is None else parse_moment(since, now_us()),
        until_us=None if until is None else parse_moment(until, now_us()),
    )


@dead_letter.command("list")
def list_dead_letters(
    *,
    reason: _REASON = None,
    stage: _STAGE = None,
    device: _DEVICE = None,
    since: _SINCE = None,
    until: _UNTIL = None,
    last: Annotated[int, typer.Option(min=0, max=10_000, help="Show so many, newest last.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Count dead letters by reason, and show the last ones."""
    from services.console import ending
    from services.console.dead_letters import run

    ending.run(lambda: run.list_(_choice(reason, stage, device, since, until), last, as_json=as_json))


@dead_letter.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `weir dead-letter list` shows it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show all of one dead letter: why, where it stands, what would fix it, its bytes."""
    from services.console import ending
    from services.console.dead_letters import run

    ending.run(lambda: run.show(letter_id, as_json=as_json))


@dead_letter.command("replay")
def replay_dead_letters(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These; or choose by the options.")] = None,
    *,
    reason: _REASON = None,
    stage: _STAGE = None,
    device: _DEVICE = None,
    since: _SINCE = None,
    until: _UNTIL = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send dead letters' messages again, after what was wrong with them has been put right.

    They take the path of any message, under their first received time, and the ledger counts them as received. Readings
    that went through the first time, or in an earlier replay, are not stored again.
    """
    from services.console import ending
    from services.console.dead_letters import run

    def command() -> int:
        choice = _choice(reason, stage, device, since, until)
        return run.replay(run.ReplayOptions(ids=tuple(ids or ()), choice=choice, again=again, dry_run=dry_run, yes=yes))

    ending.run(command)


model = typer.Typer(help="A person's hand on devices' models: pause, resume, re-baseline.", no_args_is_help=True)
app.add_typer(model, name="model", rich_help_panel=LOOK)

_WHOSE = Annotated[str, typer.Argument(metavar="TENANT/DEVICE")]
_SENSOR = Annotated[str | None, typer.Option(help="This sensor only.")]
_WHY = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the event.")]


@model.command("pause")
def pause_model(
    device: _WHOSE,
    *,
    sensor: _SENSOR = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="So long: 90s, 15m, 2h, 7d. Default: until resumed.")
    ] = None,
    reason: _WHY = "",
) -> None:
    """Neither score nor learn a device, for maintenance: its readings are stored and aggregated, no anomaly opens."""
    from services.console import ending, model_control
    from services.console.times import parse_duration

    def command() -> int:
        for_us = None if for_ is None else parse_duration(for_)
        return model_control.give(device, Command.PAUSE, sensor=sensor, for_us=for_us, reason=reason)

    ending.run(command)


@model.command("resume")
def resume_model(device: _WHOSE, *, sensor: _SENSOR = None, reason: _WHY = "") -> None:
    """End a pause: with a sensor that sensor's, else all of the device's."""
    from services.console import ending, model_control

    ending.run(lambda: model_control.give(device, Command.RESUME, sensor=sensor, reason=reason))


@model.command("re-baseline")
def re_baseline_model(device: _WHOSE, *, sensor: _SENSOR = None, reason: _WHY = "") -> None:
    """Let a device's models (or one sensor's) forget what they have learnt, and learn anew."""
    from services.console import ending, model_control

    ending.run(lambda: model_control.give(device, Command.RE_BASELINE, sensor=sensor, reason=reason))


@model.command("list")
def list_paused_models(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List what is paused, as of the last checkpoint."""
    from services.console import ending, model_control

    ending.run(lambda: model_control.list_(as_json=as_json))


@model.command("show")
def show_model(device: _WHOSE) -> None:
    """Show what of a device is paused, and the last events of its models."""
    from services.console import ending, model_control

    ending.run(lambda: model_control.show(device))


config = typer.Typer(help="What Weir is told.", no_args_is_help=True)
app.add_typer(config, name="config", rich_help_panel=LOOK)


@config.command()
def show(
    *, markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/settings.md.")] = False
) -> None:
    """Show every setting: name, value (secrets as stars), default, what it says."""
    from services.console import configuration, ending

    ending.run(lambda: configuration.run(markdown=markdown))


@config.command()
def check() -> None:
    """Read settings, routes, device types with their models, and alert rules, as services do; exit code 0 or 1."""
    from services.console import doctor, ending

    ending.run(doctor.run_configuration)


def main() -> None:
    """Entry point of the `weir` command."""
    try:
        core.require_current()
    except core.StaleCore as stale:
        typer.echo(f"weir: {stale}", err=True)
        raise SystemExit(ExitCode.CONFIGURATION) from None
    app()


if __name__ == "__main__":
    main()
