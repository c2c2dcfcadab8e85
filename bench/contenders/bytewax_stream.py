"""Bytewax: fold_window and stateful_map, one worker: `python -m bytewax.run bytewax_stream:flow`."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import device_work as work
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from confluent_kafka import OFFSET_BEGINNING

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRODUCER = {
    "linger.ms": "5",
    "compression.type": "lz4",
    "enable.idempotence": "true",
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": "1000000",
}


def _flow() -> Dataflow:
    brokers, prefix = [os.environ["BENCH_KAFKA"]], os.environ["BENCH_PREFIX"]
    flow = Dataflow("bench")
    source = KafkaSource(brokers, [prefix + "telemetry.raw"], starting_offset=OFFSET_BEGINNING, batch_size=1000)
    messages = op.map("decode", op.input("raw", flow, source), _decode)

    def out(name: str, records: Any, topic: str) -> None:
        sent = op.map(f"{name}_encode", records, _encode)
        op.output(name, sent, KafkaSink(brokers, prefix + topic, add_config=PRODUCER))

    out("clean", op.map("clean_record", messages, lambda one: (one[0], work.clean_record(*one))), "telemetry.clean")
    out("scores", op.stateful_map("score", messages, _score), "telemetry.scores")
    clock = windowing.EventClock(
        lambda message: datetime.fromtimestamp(message["ts"] / 1000, UTC),
        wait_for_system_duration=timedelta(seconds=work.LATENESS_S),
    )
    for width_s in work.WIDTHS_S:
        folded = windowing.fold_window(
            f"fold_{width_s}",
            messages,
            clock,
            windowing.TumblingWindower(align_to=EPOCH, length=timedelta(seconds=width_s)),
            dict,
            lambda window, message: work.add(window, message["values"]),
            lambda one, other: {**one, **other},
        )
        closed = op.flat_map(f"records_{width_s}", folded.down, _aggregates(width_s))
        out(f"aggregates_{width_s}", closed, "telemetry.aggregates")
    return flow


def _decode(message: Any) -> tuple[str, dict[str, Any]]:
    device = message.key.decode()
    return device, orjson.loads(message.value) | {"device": device}


def _encode(record: tuple[str, dict[str, Any]]) -> Any:
    return KafkaSinkMessage(record[0].encode(), orjson.dumps(record[1]))


def _score(model: Any, message: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    model = model or work.new_model()
    return model, work.score_record(message["device"], message, model)


def _aggregates(width_s: int) -> Any:
    def records(closed: tuple[str, tuple[int, work.Window]]) -> list[tuple[str, dict[str, Any]]]:
        device, (number, window) = closed
        start_ms = number * width_s * 1000
        return [(device, record) for record in work.aggregate_records(device, start_ms, width_s, window)]

    return records


flow = _flow()
