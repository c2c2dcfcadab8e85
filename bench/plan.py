"""What is run, at which size: the whole, and the quick one. Pure."""

from typing import Final, NamedTuple

from bench.stage_end_to_end import Extent

STREAM: Final = ("weir", "plain", "quix", "bytewax", "faust_documented", "plain_simple", "bytewax_recovery")
BRIDGE: Final = ("weir", "plain", "telegraf")
SINK: Final = ("weir", "plain", "telegraf", "influxdb_client")
SLOW: Final = frozenset({"faust_documented"})
WARM_EACH: Final = 36
"""Messages of each device that are worked off before it counts: models keep back their first 32 readings."""


class Plan(NamedTuple):
    """How much of everything. `stream_devices`: each a row of its own, the first the stage's name alone.

    `slow_messages`: what a contender of `SLOW` gets of the stream's messages. `state`: devices and model.
    `scale_messages`: of each row of `stage_scale`, after those of the warm-up.
    """

    messages: int
    slow_messages: int
    repeats: int
    stream_devices: tuple[int, ...]
    stream_contenders: tuple[str, ...]
    end_to_end: Extent
    state: tuple[tuple[int, str], ...]
    scale_messages: int


WHOLE: Final = Plan(
    messages=300_000,
    slow_messages=300_000,
    repeats=3,
    stream_devices=(1_000, 10_000),
    stream_contenders=STREAM,
    end_to_end=Extent(flood_messages=100_000, hold_s=60.0, latency_s=60.0, devices=1_000),
    state=((10_000, "bands"), (100_000, "light")),
    scale_messages=200_000,
)
QUICK: Final = Plan(
    messages=40_000,
    slow_messages=8_000,
    repeats=1,
    stream_devices=(200,),
    stream_contenders=STREAM[:5],
    end_to_end=Extent(flood_messages=20_000, hold_s=10.0, latency_s=8.0, devices=500),
    state=((1_000, "bands"), (1_000, "light")),
    scale_messages=20_000,
)


def stream_rows(plan: Plan) -> list[tuple[str, str, int]]:
    """(Row, stage, devices) of the stream."""
    return [
        (stage if number == 0 else f"{stage}_{devices}_devices", stage, devices)
        for stage in ("stream_gaussian", "stream_hst")
        for number, devices in enumerate(plan.stream_devices)
    ]


def rows(plan: Plan) -> list[str]:
    """All rows, in order."""
    stream = [row for row, _, _ in stream_rows(plan)]
    return [*stream, "mqtt_to_kafka", "kafka_to_influxdb", "end_to_end", "scale", "state", "scoring"]
