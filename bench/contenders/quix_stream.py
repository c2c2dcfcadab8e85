"""Quix Streams: windows in its RocksDB state with changelogs, at least once, commits every 5 s (its default).

The models are in memory only: its state holds JSON, which a River model is not.
"""

import os
from typing import Any

import device_work as work
from quixstreams import Application
from quixstreams.dataframe.windows import Reduce

models: dict[str, Any] = {}


def main() -> None:
    """Build the dataframe and run it."""
    prefix = os.environ["BENCH_PREFIX"]
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=prefix + "quix",
        auto_offset_reset="earliest",
        state_dir="quix-state",
        loglevel="WARNING",
        producer_extra_config={"compression.type": "lz4"},
    )
    raw = app.topic(
        prefix + "telemetry.raw",
        value_deserializer="json",
        key_deserializer="str",
        timestamp_extractor=lambda value, _headers, _timestamp, _type: value["ts"],
    )
    clean, scores, aggregates = (
        app.topic(prefix + name, value_serializer="json", key_serializer="str")
        for name in ("telemetry.clean", "telemetry.scores", "telemetry.aggregates")
    )
    messages = app.dataframe(raw)
    messages.apply(lambda value, key, _at, _headers: work.clean_record(key, value), metadata=True).to_topic(clean)
    messages.apply(_score, metadata=True).to_topic(scores)
    for width_s in work.WIDTHS_S:
        windows = messages.tumbling_window(width_s * 1000, grace_ms=work.LATENESS_S * 1000, name=f"w{width_s}")
        windows.agg(
            sensors=Reduce(
                reducer=lambda window, value: work.add(window, value["values"]),
                initializer=lambda value: work.add({}, value["values"]),
            )
        ).final().apply(
            lambda closed, key, _at, _headers, width_s=width_s: work.aggregate_records(
                key, closed["start"], width_s, closed["sensors"]
            ),
            expand=True,
            metadata=True,
        ).to_topic(aggregates)
    app.run()


def _score(value: dict[str, Any], key: str, _at: int, _headers: Any) -> dict[str, Any]:
    model = models.get(key)
    if model is None:
        model = models[key] = work.new_model()
    record: dict[str, Any] = work.score_record(key, value, model)
    return record


if __name__ == "__main__":
    main()
