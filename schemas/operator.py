"""An operator's command to a device's models, as it stands on `telemetry.raw` under the device's key.

It is in the log of the device's messages, so that it is applied at its place among them, whatever is killed.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

LONGEST_PAUSE_S: Final = 366 * 86_400
_LINE: Final = r"^[^\x00-\x1f\x7f]*$"


class Command(StrEnum):
    """What is to be done."""

    PAUSE = "pause"
    RESUME = "resume"
    RE_BASELINE = "re-baseline"


class OperatorCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sensor` None: all of the device. `for_s`: a pause's length in seconds, from `received-at` on; None: no end."""

    command: Command
    sensor: str | None = None
    for_s: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PAUSE_S)] | None = None
    by: Annotated[str, msgspec.Meta(max_length=200, pattern=_LINE)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=500, pattern=_LINE)] = ""
