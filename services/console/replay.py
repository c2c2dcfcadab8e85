"""`weir replay`: the simulator's options, from the command line to a finished replay."""

import sys

from services.runtime import logging, settings
from services.runtime.errors import ExitCode
from services.runtime.process import Shutdown
from services.runtime.settings import ToolSettings
from services.simulator.options import ReplayOptions
from services.simulator.service import replay


def run(options: ReplayOptions) -> int:
    """Replay to the end, or to SIGINT or SIGTERM; the last line on stdout sums it up as JSON."""
    options.check()
    told = settings.load(ToolSettings)
    logging.configure("simulator", level=told.log.level, form=told.log.format)
    summary = replay(options, told.mqtt, Shutdown().install())
    sys.stdout.write(summary.line() + "\n")
    return ExitCode.OK
