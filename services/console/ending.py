"""How a command ends: an error made on purpose as a message and an exit code, a defect with its traceback."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from deploy.local.errors import InstallFailed, NotInstalled, ServersNotReady, StackError
from services.runtime.errors import ConfigurationError, ExitCode, Unavailable, WeirError

PROBLEM: Final = 1
"""Exit code of a command that looked, and found that something is wrong."""
_INTERRUPTED: Final = 130


def run(command: Callable[[], int]) -> NoReturn:
    """Run a command to its end and leave with its exit code."""
    sys.exit(exit_code_of(command))


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command; what it raises on purpose becomes a message and an exit code."""
    try:
        code = command()
        sys.stdout.flush()
    except (WeirError, StackError) as error:
        sys.stderr.write(f"weir: {error}\n")
        return code_of(error)
    except BrokenPipeError:
        # Whoever read us has seen enough (`weir tail ... | head`); Python must not flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:  # noqa: BLE001 - the process boundary: a defect of ours, and not "something is wrong" (1)
        traceback.print_exc()
        return ExitCode.DEFECT
    return code


def code_of(error: WeirError | StackError) -> ExitCode:
    """By what one does about it: wait or install, change something, or tell us."""
    if isinstance(error, Unavailable | ServersNotReady | NotInstalled | InstallFailed):
        return ExitCode.UNAVAILABLE
    if isinstance(error, ConfigurationError | StackError):
        return ExitCode.CONFIGURATION
    return ExitCode.DEFECT
