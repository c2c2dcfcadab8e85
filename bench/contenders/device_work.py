"""What the rivals do with a message, whatever carries it: windows as plain dicts, and River's model for each sensor.

River's models are called the cheapest way (no pipeline object), so that no rival is charged for more than it needs.
Windows hold count, sum, least, most; Weir's hold standard deviation, quantiles, first and last as well.
"""

import os
from typing import Any

from river.anomaly import GaussianScorer, HalfSpaceTrees
from river.preprocessing import MinMaxScaler

MODEL = os.environ.get("BENCH_MODEL", "gaussian")
WIDTHS_S = (10, 60, 300)
LATENESS_S = 10

Window = dict[str, list[float]]
"""Sensor -> [count, sum, least, most]."""


class GaussianModel:
    """River's GaussianScorer, one a sensor."""

    def __init__(self) -> None:
        self._models: dict[str, GaussianScorer] = {}

    def score(self, values: dict[str, float]) -> dict[str, float]:
        """Score, then learn."""
        found = {}
        for sensor, value in values.items():
            model = self._models.get(sensor)
            if model is None:
                model = self._models[sensor] = GaussianScorer()
            found[sensor] = model.score_one(None, value)
            model.learn_one(None, value)
        return found


class TreesModel:
    """River's HalfSpaceTrees (5 trees, height 4, window 100) behind a MinMaxScaler, one a sensor."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[MinMaxScaler, HalfSpaceTrees]] = {}

    def score(self, values: dict[str, float]) -> dict[str, float]:
        """Score, then learn."""
        found = {}
        for sensor, value in values.items():
            pair = self._models.get(sensor)
            if pair is None:
                pair = self._models[sensor] = (MinMaxScaler(), HalfSpaceTrees(5, 4, 100, seed=1))
            scaler, trees = pair
            features = {"level": value}
            scaler.learn_one(features)
            scaled = scaler.transform_one(features)
            found[sensor] = trees.score_one(scaled)
            trees.learn_one(scaled)
        return found


def new_model() -> GaussianModel | TreesModel:
    """A device's model, as BENCH_MODEL names it."""
    return GaussianModel() if MODEL == "gaussian" else TreesModel()


def add(window: Window, values: dict[str, float]) -> Window:
    """Fold a message into a window, in place."""
    for sensor, value in values.items():
        kept = window.get(sensor)
        if kept is None:
            window[sensor] = [1, value, value, value]
            continue
        kept[0] += 1
        kept[1] += value
        if value < kept[2]:
            kept[2] = value
        if value > kept[3]:
            kept[3] = value
    return window


def clean_record(device: str, message: dict[str, Any]) -> dict[str, Any]:
    """One record a message."""
    return {"device": device, "ts": message["ts"], "seq": message["seq"], "values": message["values"]}


def score_record(device: str, message: dict[str, Any], model: GaussianModel | TreesModel) -> dict[str, Any]:
    """One record a message: the device's score is its most unusual sensor's."""
    scores = model.score(message["values"])
    return {
        "device": device,
        "ts": message["ts"],
        "seq": message["seq"],
        "score": max(scores.values()),
        "sensors": scores,
    }


def aggregate_records(device: str, start_ms: int, width_s: int, window: Window) -> list[dict[str, Any]]:
    """One record a sensor."""
    return [
        {
            "device": device,
            "sensor": sensor,
            "start_us": start_ms * 1000,
            "width_us": width_s * 1_000_000,
            "count": count,
            "mean": total / count,
            "min": low,
            "max": high,
        }
        for sensor, (count, total, low, high) in window.items()
    ]
