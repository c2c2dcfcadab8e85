"""What is run, at which size: the whole, and the quick one. Pure."""

from typing import Final, NamedTuple

from bench.stage_end_to_end import Extent

QUICK_STREAM: Final = ("weir", "plain", "quix", "bytewax", "faust_documented")
MANY_STREAM: Final = (*QUICK_STREAM, "plain_simple")
"""Of the rows of many devices: `bytewax_recovery` alone would take half an hour in each."""
STREAM: Final = (*MANY_STREAM, "bytewax_recovery")
BRIDGE: Final = ("weir", "plain", "telegraf")
SINK: Final = ("weir", "plain", "telegraf", "influxdb_client")
SLOW: Final = frozenset({"faust_documented"})
WARM_EACH: Final = 36
"""Messages of each device that are worked off before it counts: models keep back their first 32 readings."""


class Plan(NamedTuple):
    """How much of everything. `stream`: devices and contenders, each a row, the first with the stage's name alone.

    `slow_messages`: what a contender of `SLOW` gets of the stream's messages. `state`: devices and model.
    `scale_messages`: of each row of `stage_scale`, after those of the warm-up.
    """

    messages: int
    slow_messages: int
    repeats: int
    stream: tuple[tuple[int, tuple[str, ...]], ...]
    end_to_end: Extent
    state: tuple[tuple[int, str], ...]
    scale_messages: int


WHOLE: Final = Plan(
    messages=300_000,
    slow_messages=300_000,
    repeats=3,
    stream=((1_000, STREAM), (10_000, MANY_STREAM)),
    end_to_end=Extent(flood_messages=100_000, hold_s=60.0, latency_s=60.0, devices=1_000),
    state=((10_000, "bands"), (100_000, "light")),
    scale_messages=200_000,
)
QUICK: Final = Plan(
    messages=40_000,
    slow_messages=8_000,
    repeats=1,
    stream=((200, QUICK_STREAM),),
    end_to_end=Extent(flood_messages=20_000, hold_s=10.0, latency_s=8.0, devices=500),
    state=((1_000, "bands"), (1_000, "light")),
    scale_messages=20_000,
)


class StreamRow(NamedTuple):
    """A row of the stream: `stage` tells the model."""

    name: str
    stage: str
    devices: int
    contenders: tuple[str, ...]


def stream_rows(plan: Plan) -> list[StreamRow]:
    """The stream's rows, in order."""
    return [
        StreamRow(stage if number == 0 else f"{stage}_{devices}_devices", stage, devices, contenders)
        for stage in ("stream_gaussian", "stream_hst")
        for number, (devices, contenders) in enumerate(plan.stream)
    ]


def rows(plan: Plan) -> list[str]:
    """All rows, in order."""
    stream = [row.name for row in stream_rows(plan)]
    return [*stream, "mqtt_to_kafka", "kafka_to_influxdb", "end_to_end", "scale", "state", "scoring"]


def contenders(plan: Plan) -> set[str]:
    """Everybody's names."""
    return {*BRIDGE, *SINK}.union(*(row.contenders for row in stream_rows(plan)))
