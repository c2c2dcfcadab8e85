"""`weir ...`: one command per service, and the commands that look at all of them.

Each command's work is done elsewhere: services in their own folder, everything else in `services/console/`.
"""

import typer

from services.runtime import process

app = typer.Typer(
    name="weir",
    help="Streaming IoT ingestion and online anomaly scoring.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# A service imports its own client libraries only, so that each process starts fast and small.


@app.command()
def bridge() -> None:
    """Run the bridge: MQTT -> telemetry.raw."""
    from services.bridge.service import run  # noqa: PLC0415

    process.run("bridge", run)


@app.command()
def stream() -> None:
    """Run a stream worker: clean, aggregate, score."""
    from services.stream.service import run  # noqa: PLC0415

    process.run("stream", run)


@app.command()
def sink() -> None:
    """Run the sink: results -> InfluxDB."""
    from services.sink.service import run  # noqa: PLC0415

    process.run("sink", run)


@app.command()
def alerts() -> None:
    """Run the alerts: rules -> alarms."""
    from services.alerts.service import run  # noqa: PLC0415

    process.run("alerts", run)


def main() -> None:
    """Entry point of the `weir` command."""
    app()


if __name__ == "__main__":
    main()
