"""Work for the hot core, as a program of its own: `core_work.py compiled` or `core_work.py interpreted`.

It prints digests of everything that comes out: scores of all models, windows, and outputs and states of a pipeline.
Ints and floats are told apart, and so are 0.0 and -0.0.
"""

import hashlib
import importlib.util
import math
import random
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).parents[2]


class SourcesOnly:
    """Finds our modules as .py files, whatever compiled ones lie beside them."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in {"services", "schemas"}:
            return None
        path = ROOT / Path(*name.split("."))
        if path.is_dir():
            return importlib.util.spec_from_file_location(
                name, path / "__init__.py", submodule_search_locations=[str(path)]
            )
        return importlib.util.spec_from_file_location(name, path.with_suffix(".py"))


if sys.argv[1] == "interpreted":
    sys.meta_path.insert(0, SourcesOnly)

import json

import msgspec

from schemas import raw as headers
from services.runtime.routes import load_routes
from services.scoring import band
from services.scoring.device import DeviceScorer
from services.scoring.spec import MODELS, ModelSpec
from services.stream.arrival import RawRecord
from services.stream.device_types import DeviceType, DeviceTypes
from services.stream.pipeline import PartitionPipeline
from services.stream.window import pack_window
from services.stream.windows import DeviceWindows

START_US = 1_792_584_000_000_000
SECOND_US = 1_000_000


def show(what: str, value: object) -> None:
    # A repr tells 1 from 1.0 and 0.0 from -0.0, and a Struct's tells all of its fields.
    print(what, hashlib.sha256(repr(value).encode()).hexdigest())


def signals(count: int) -> list[dict[str, float]]:
    """A wave with spikes, a step and a gap of noise; noise; something that is constant, then is not; few levels."""
    rng = random.Random(7)
    found = []
    for i in range(count):
        wave = (
            20.0
            + math.sin(i / 30)
            + rng.gauss(0.0, 0.2)
            + (8.0 if i % 500 == 450 else 0.0)
            + (5.0 if i > 1000 else 0.0)
        )
        values = {
            "wave": wave,
            "noise": rng.gauss(0.0, 3.0),
            "flat": 1.0 if i < 900 else 2.0,
            "levels": float(i // 90 % 3),
        }
        if i % 11 == 3:
            del values["noise"]
        found.append(values)
    return found


def show_scores(rows: list[dict[str, float]]) -> None:
    for name in MODELS:
        scorer = DeviceScorer(ModelSpec(name=name))
        scores = []
        for i, values in enumerate(rows):
            scores.append(scorer.update(START_US + i * 60 * SECOND_US, values))
            if i % 400 == 399:
                scores.append(scorer.score(START_US + i * 60 * SECOND_US + 1, values))
                show(f"{name} culprits {i}", scorer.culprits())
                scorer = DeviceScorer.from_state(ModelSpec(name=name), scorer.to_state())
        show(f"{name} scores", scores)
        show(f"{name} state", scorer.to_state())


def show_windows(rows: list[dict[str, float]]) -> None:
    windows, emitted, newest_us = DeviceWindows(), [], 0
    for i, values in enumerate(rows):
        event_us = START_US + i * 3 * SECOND_US - (40 * SECOND_US if i % 37 == 5 else 0)
        windows.add(event_us, values, newest_us=newest_us, offset=i, emitted=emitted)
        newest_us = max(newest_us, event_us)
        if newest_us - 10 * SECOND_US >= windows.next_due_us:
            windows.close(newest_us, i, emitted)
    show(
        "windows",
        [
            (e.sensor, e.start_us, pack_window(e.window, e.start_us), e.window.std, e.window.quantiles.at(0.05, 0.5))
            for e in emitted
        ],
    )
    show("pages", windows.take_changed())
    show("open", windows.pack_open())


def records(rows: list[dict[str, float]]) -> list[RawRecord]:
    """Of two devices, one with `seq`; ints, text, NaN, null, booleans and times in all forms among the values."""
    log = []
    for i, values in enumerate(rows):
        event_us = START_US + i * 7 * SECOND_US - (90 * SECOND_US if i % 41 == 7 else 0)
        sent = {name: round(value) if i % 5 == 0 else value for name, value in values.items()}
        if i % 53 == 9:
            sent |= {"flag": True, "text": "on", "none": None}
        body = {"ts": event_us if i % 3 else event_us / 1e6, "values": sent}
        if i % 2:
            body["seq"] = i // 2 - (i % 97 == 11)
        device = f"pump-{i % 2}"
        value = json.dumps(body).encode() if i % 61 else b"{"
        told = {
            headers.MQTT_TOPIC: f"weir/v1/acme/north/{device}/telemetry".encode(),
            headers.MQTT_DUP: b"0",
            headers.RECEIVED_AT: b"%d" % (START_US + i * 7 * SECOND_US + 2000),
            headers.ROUTE: b"telemetry",
        }
        log.append(RawRecord(i, f"acme/{device}".encode(), value, told))
    return log


def show_pipeline(rows: list[dict[str, float]]) -> None:
    """With each of a pipeline's ways to a model: views and joint view, a short way, any part of River's.

    What else models differ in, `show_scores` has said of each.
    """
    for name in ("bands", "gaussian", "snarimax"):
        types = DeviceTypes({"generic": DeviceType(model=ModelSpec(name=name))}, [])
        pipeline = PartitionPipeline(0, load_routes(None), types)
        outputs = pipeline.process(records(rows))
        outputs += pipeline.idle_windows(START_US * 2, START_US * 2)
        # JSON tells an int from a float, and 0.0 from -0.0.
        show(f"{name} outputs", [(topic, key, msgspec.json.encode(record)) for topic, key, record in outputs])
        show(f"{name} changes", [(change.key, change.value) for change in pipeline.take_changes()])
        show(f"{name} totals", pipeline.totals)


assert (not band.__file__.endswith(".py")) == (sys.argv[1] == "compiled"), band.__file__
ROWS = signals(1300)
show_scores(ROWS)
show_windows(ROWS)
show_pipeline(ROWS)
