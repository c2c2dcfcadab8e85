"""`weir-metrics`: what each service measured of itself, written to InfluxDB by the sink as measurement `pipeline`."""

import msgspec


class MetricPoint(msgspec.Struct, frozen=True, gc=False):
    """Fields that share their tags; `topic` and `reason` are "" where they do not apply."""

    topic: str
    reason: str
    fields: dict[str, float]


class ServiceMetrics(msgspec.Struct, frozen=True, gc=False, tag="metrics.v1", tag_field="type"):
    """One service process at one moment (wall clock, unix µs).

    `instance` is another one after a restart. `name` is what its operator calls the process, of a small set that stays:
    the tag `instance` in InfluxDB.
    """

    id: str
    service: str
    instance: str
    at_us: int
    points: list[MetricPoint]
    name: str = ""
