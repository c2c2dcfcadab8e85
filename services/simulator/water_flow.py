"""River's WaterFlow: real hourly flow through a branch of a water main (Italy, March to May 2022, 1,268 rows).

Given by Tecnojest s.r.l., shipped with River (BSD-3-Clause). Only `flow` was recorded. `pressure` and
`motor_temperature` are derived from it here, so that a pump has more than one signal; they are no measurements:

    pressure = 6.2 - 1.6e-4 * flow²                             bar; a pump's head falls with the square of its flow
    power = 0.1 * flow * pressure                               kW, hydraulic
    target = 20 + 3 * cos(2π * (hour - 15) / 24) + 0.8 * power   °C; ambient with its day, and the motor's losses
    motor_temperature += (target - motor_temperature) / 4       °C; the casing warms over four rows
"""

import math
from typing import Final

from river.datasets import WaterFlow

SENSORS: Final = ("flow", "pressure", "motor_temperature")
"""In l/s, bar, °C."""
DERIVED: Final = ("pressure", "motor_temperature")

ANOMALIES: Final = (
    (93, 118, "flow", "low flow: loss or maintenance"),
    (210, 231, "flow", "low flow: loss or maintenance"),
    (329, 329, "flow", "peak: pumping into the main"),
    (872, 895, "flow", "low flow: loss or maintenance"),
)
"""First row, last row, sensor, what it was: the four that River's documentation describes, located in the data.

A low flow lasts, here, until the motor is warm again, eight rows after the flow is back.
"""


def rows() -> tuple[list[float], list[list[float]]]:
    """Offsets in seconds, and one row of `SENSORS` for each."""
    offsets: list[float] = []
    made: list[list[float]] = []
    first = 0.0
    temperature: float | None = None
    for features, flow in WaterFlow():
        at = features["Time"]
        first = first or at.timestamp()
        pressure = 6.2 - 1.6e-4 * flow**2
        power = 0.1 * flow * pressure
        target = 20 + 3 * math.cos(2 * math.pi * (at.hour - 15) / 24) + 0.8 * power
        temperature = target if temperature is None else temperature + (target - temperature) / 4
        offsets.append(at.timestamp() - first)
        made.append([flow, pressure, temperature])
    return offsets, made
