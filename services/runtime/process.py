"""The process boundary: signals, exit codes, and the one place where an unknown exception ends a service."""

import gc
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from services.runtime import logging
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable

log = logging.get("process")


class Shutdown:
    """Set by SIGTERM or SIGINT; loops ask it, waits end with it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def install(self) -> "Shutdown":
        """Listen for the signals; from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def request(self) -> None:
        """Ask the service to drain and leave."""
        self._event.set()

    def __call__(self) -> bool:
        """Whether the service was asked to leave."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than to the signal; True when it has come."""
        return self._event.wait(seconds)


def look_for_garbage_seldom() -> None:
    """Tell Python's collector that what there is now stays, and to look at what comes only rarely.

    Devices, and what is in flight, are no garbage: looking through them again and again costs a fifth of the time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def run(service: str, main: Callable[[], None]) -> NoReturn:
    """Run a service to its end and leave with the exit code that says how it ended."""
    sys.exit(exit_code_of(service, main))


def exit_code_of(service: str, main: Callable[[], None]) -> ExitCode:
    """Run `main`; what it raises becomes a line in the log and an exit code."""
    try:
        main()
    except ConfigurationError as error:
        log.error("configuration_refused", name=service, error=str(error))  # noqa: TRY400 - a person needs no traceback
        return ExitCode.CONFIGURATION
    except Unavailable as error:
        log.error("dependency_unavailable", name=service, error=str(error))  # noqa: TRY400 - as above
        return ExitCode.UNAVAILABLE
    except Exception:  # the process boundary: whatever this is, nothing of it was acknowledged
        log.exception("defect", name=service)
        return ExitCode.DEFECT
    return ExitCode.OK
