"""What can go wrong, sorted by what one does about it.

WeirError
├── Poison               the message can never succeed: dead letter, then acknowledge
├── Unavailable          nothing is wrong with the message: back off and try again
├── ConfigurationError   a person must change something: exit 78
└── Defect               an invariant of ours is broken: stop, acknowledge nothing, exit 70
"""

from enum import IntEnum

from schemas.reasons import Reason


class ExitCode(IntEnum):
    """Exit codes of every service (sysexits.h where one fits)."""

    OK = 0
    UNAVAILABLE = 69
    """A dependency did not come back in time; the supervisor tries again."""
    DEFECT = 70
    """Our bug, or an unknown exception; nothing was acknowledged."""
    CONFIGURATION = 78
    """Settings are wrong or the environment does not fit; a restart will not help."""


class WeirError(Exception):
    """Base of everything that Weir raises on purpose."""


class Poison(WeirError):
    """The message can never succeed; `detail` is for a person and never a metric label."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class Unavailable(WeirError):
    """A dependency said "not now"; `retry_after_s` is what it asked for, in seconds."""

    def __init__(self, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class ConfigurationError(WeirError):
    """A setting, or what stands in the environment, is wrong; the message names the fix."""


class Defect(WeirError):
    """An invariant of ours is broken; the supervisor restarts the service from its last commit."""
