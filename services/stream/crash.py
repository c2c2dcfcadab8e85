"""Crash-only: how the worker ends where going on would be a guess; nothing more is acknowledged."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from confluent_kafka import KafkaException

from services.runtime import logging
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable

log = logging.get("stream")


@contextmanager
def crash_only() -> Iterator[None]:
    """End the process at any exception: in callbacks and threads of a library it would be lost."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        end_process(error)


def end_process(error: BaseException) -> NoReturn:
    """Leave at once, with nothing more acknowledged; the exit code says why."""
    if isinstance(error, ConfigurationError):
        code = ExitCode.CONFIGURATION
    elif isinstance(error, Unavailable | KafkaException | TimeoutError):
        code = ExitCode.UNAVAILABLE
    else:
        code = ExitCode.DEFECT
    log.error("stream_ends", exit_code=int(code), error=repr(error), exc_info=error)
    os._exit(code)
