"""Structured logs on stderr, and what a level means.

ERROR: data is lost or a person must act. WARNING: odd, nothing lost. INFO: a state changed, once down and once back.
Nothing is logged per message. Device text is a value, never part of a message, and what no printer shows is escaped, so
that it can neither forge a line nor steer a terminal.
"""

import logging
import sys
from typing import Literal

import structlog

Log = structlog.stdlib.BoundLogger


def configure(service: str, *, level: str = "INFO", form: Literal["json", "text"] = "text") -> Log:
    """Set up logging for this process; libraries' own logs pass through the same form from WARNING up."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if form == "json" else [_visible]),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("weir").setLevel(level)
    structlog.contextvars.bind_contextvars(service=service)
    return get(service)


def _visible(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # JSON escapes by itself; the text form quotes only what holds a space, a quote or a line's end.
    for name, value in event.items():
        if name == "exception":
            # Indented: no line of it can look like one of ours.
            event[name] = "\n".join(f"  {_escaped(line)}" for line in str(value).split("\n"))
        elif isinstance(value, str):
            event[name] = _escaped(value)
    return event


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def get(name: str) -> Log:
    """A logger of ours; its lines pass at the configured level."""
    log: Log = structlog.stdlib.get_logger(f"weir.{name}")
    return log


class Outage:
    """What is said of something that fails for a while: once that it began, once that it is over."""

    def __init__(self, log: Log, began: str, over: str) -> None:
        """`began` and `over` are the names of the two events."""
        self._log = log
        self._began = began
        self._over = over
        self._times = 0

    def failed(self, **why: object) -> None:
        """It failed, perhaps again."""
        self._times += 1
        if self._times == 1:
            self._log.warning(self._began, **why)

    def worked(self) -> None:
        """It works, perhaps still."""
        if self._times:
            self._log.info(self._over, failed_before=self._times)
            self._times = 0
