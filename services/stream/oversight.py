"""What stands between a device's readings and its models: an operator's pauses, and what the models are watched for.

All times are received times of the log (µs): a pause ends with the first message that came after its end, and no clock
has a say.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from schemas.telemetry import ModelState, Severity
from services.scoring.device import DeviceScore
from services.scoring.drift.device_watch import DeviceWatch

WHOLE_DEVICE: Final = ""
"""In the place of a sensor."""
NO_END: Final = 2**53
"""Of a pause that lasts until it is resumed."""


class Oversight(msgspec.Struct, array_like=True, gc=False):
    """`pauses`: sensor (or `WHOLE_DEVICE`) -> received time at which its pause ends.

    `restarted`: the stored models could not be read and learn anew, which nobody was told yet. `watch`:
    of the device's drift.
    """

    pauses: dict[str, int] = {}
    restarted: bool = False
    watch: DeviceWatch = msgspec.field(default_factory=DeviceWatch)

    def pause(self, name: str, at_us: int, for_s: int | None) -> int | None:
        """From now on neither score nor learn; returns the end, None: there is none. A later pause replaces it."""
        until_us = NO_END if for_s is None else at_us + for_s * 1_000_000
        self.pauses[name] = until_us
        return None if for_s is None else until_us

    def resume(self, name: str) -> None:
        """Score and learn again; with the whole device all of its sensors."""
        if name == WHOLE_DEVICE:
            self.pauses.clear()
        else:
            self.pauses.pop(name, None)

    def end_pauses(self, received_us: int) -> list[tuple[str, int]]:
        """End the pauses that are over by this received time: what was paused, and until when; in order."""
        over = sorted((until_us, name) for name, until_us in self.pauses.items() if until_us <= received_us)
        for _, name in over:
            del self.pauses[name]
        return [(name, until_us) for until_us, name in over]

    def unpaused(self, values: Mapping[str, float]) -> dict[str, float]:
        """Those of a moment's values that are scored and learnt."""
        if WHOLE_DEVICE in self.pauses:
            return {}
        return {sensor: value for sensor, value in values.items() if sensor not in self.pauses}


def paused_score(progress: float) -> DeviceScore:
    """What is published of a message of which nothing is scored; `progress` is that of the models as they stand."""
    return DeviceScore(0.0, 0.0, Severity.NONE, ModelState.PAUSED, progress, {})
