"""The Faust app: an agent on the hot path, a channel, timers, a web endpoint; `weir stream` is its worker command.

The flow: intake (Kafka) -> channel -> agent (the pure pipeline) -> answer -> intake (Kafka, checkpoint).
"""

import socket
import time
from typing import Any

import faust
from faust.web import Request, Response, View
from prometheus_client import REGISTRY

from services.runtime.errors import ConfigurationError, Defect
from services.runtime.health import Health
from services.runtime.routes import load_routes
from services.runtime.settings import StreamSettings
from services.stream.crash import end_process
from services.stream.device_table import Restored
from services.stream.device_types import load_device_types
from services.stream.intake import Chunk, Intake
from services.stream.metrics import PipelineCollector
from services.stream.pipeline import Budgets, PartitionPipeline


class WithoutKafka(faust.App.BootStrategy):
    """Faust's own consumer and producer stay off; see the intake."""

    enable_kafka = False


class StreamApp(faust.App):
    """The app; agents, timers and web as Faust has them."""

    BootStrategy = WithoutKafka


def make_app(settings: StreamSettings) -> StreamApp:
    """The app, ready for Faust's worker."""
    options = settings.stream
    options.data_dir.mkdir(parents=True, exist_ok=True)
    app = StreamApp(
        options.group,
        broker=f"kafka://{settings.kafka.bootstrap}",
        store="memory://",
        datadir=options.data_dir.absolute(),
        web_enabled=True,
        web_bind=settings.http.host,
        web_port=_usable_port(settings.http.host, options.http_port),
        topic_disable_leader=True,
    )
    health = Health()
    routes = load_routes(options.routes_file)
    types = load_device_types(options.device_types_file)
    budgets = Budgets(
        devices_per_tenant=options.devices_per_tenant,
        sensors_per_device=options.sensors_per_device,
        devices_per_partition=options.devices_per_partition,
        sensors_per_tenant=options.sensors_per_tenant,
        sensors_per_partition=options.sensors_per_partition,
    )

    def open_partition(partition: int, restored: Restored) -> PartitionPipeline:
        return PartitionPipeline(partition, routes, types, budgets, restored)

    chunks: Any = app.channel(maxsize=16)

    async def hand_over(chunk: Chunk) -> None:
        # Faust's consumer would open the gate at its first assignment. Once only: opening clears the channels.
        if not app.flow_control.is_active():
            app.flow_control.resume()
        await chunks.send(value=chunk)

    intake = Intake(settings, health, open_partition, hand_over, loop=None, beacon=app.beacon)

    @app.agent(chunks, name="score")
    async def score(stream: Any) -> None:
        """Run each chunk through the pure pipeline and answer with what is to be published."""
        async for chunk in stream:
            try:
                chunk.answer.set_result(chunk.pipeline.process(chunk.records))
            except BaseException as error:  # noqa: BLE001 - Faust would acknowledge what an agent failed to process
                end_process(error)

    @app.timer(5.0, name="watch")
    async def watch() -> None:
        """End the process when lag stands and commits do not move; lag alone is no proof of processing."""
        if health.waiting():
            intake.moved_at = time.monotonic()
            return
        stalled_s = time.monotonic() - intake.moved_at
        if stalled_s > options.stalled_s and intake.lag() > 0:
            end_process(Defect(f"no commit for {stalled_s:.0f} s with lag {intake.lag()}"))

    REGISTRY.register(PipelineCollector(lambda: [owned.pipeline for owned in list(intake.worker.partitions.values())]))
    for path in ("/healthz", "/readyz", "/metrics"):
        _serve(app, path, health)
    app.service(intake)
    return app


def _usable_port(host: str, wanted: int) -> int:
    """The port to listen on; 0 asks for any, which Faust cannot.

    Tried before Faust does, which ends with exit code 1 over a port that is taken. Where another process takes this one
    in between, that happens still, and the supervisor starts the worker again.

    Raises:
        ConfigurationError: The port cannot be had; names the settings.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{wanted} ({error.strerror}): another process has it, perhaps another stream "
                "worker; set WEIR_STREAM__HTTP_PORT (0: any free port) or WEIR_HTTP__HOST"
            ) from None
        port: int = probe.getsockname()[1]
        return port


def _serve(app: StreamApp, path: str, health: Health) -> None:
    @app.page(path, name=path.strip("/"))
    async def page(view: View, _request: Request) -> Response:
        status, kind, body = health.answer(path)
        return view.bytes(body, content_type=kind.partition(";")[0], status=status)
