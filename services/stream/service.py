"""`weir stream`: Faust's worker command around the app."""

import asyncio

import uvloop
from faust.worker import Worker

from services.runtime import core, logging
from services.runtime.process import look_for_garbage_seldom
from services.runtime.settings import StreamSettings, load
from services.stream.app import make_app

log = logging.get("stream")


def run() -> None:
    """Run one stream worker until SIGTERM; several share the partitions of telemetry.raw."""
    settings = load(StreamSettings)
    logging.configure("stream", level=settings.log.level, form=settings.log.format)
    log.info("stream_starting", core=core.kind())
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(make_app(settings), quiet=True, redirect_stdouts=False, override_logging=False, loop=loop)
    worker.spinner = None
    look_for_garbage_seldom()
    worker.execute_from_commandline()
