"""State encodings of the River models and scalers that only pipelines are made of."""

import struct
from collections import deque
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from river.anomaly import LODA, OneClassSVM, StandardAbsoluteDeviation
from river.linear_model import LinearRegression
from river.preprocessing import MinMaxScaler, StandardScaler
from river.sketch.histogram import Bin
from river.time_series import SNARIMAX, HoltWinters
from river.utils import VectorDict

from services.scoring.state import Codec, State, StateUnreadable, encode, register, register_fields, restore

register_fields(
    StandardAbsoluteDeviation,
    "river.standard_absolute_deviation.1",
    "variance.mean.n",
    "variance.mean._mean",
    "variance._S",
    "sub_stat.n",
    "sub_stat._mean",
)


def _packed(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


def _unpacked(packed: bytes, most: int | None = None) -> tuple[float, ...]:
    if len(packed) % 8 or (most is not None and len(packed) > 8 * most):
        raise StateUnreadable(f"a model's state has {len(packed) / 8} numbers; {most} fit")
    return struct.unpack(f"<{len(packed) // 8}d", packed)


def _by_name(names: Sequence[State], packed: bytes) -> dict[str, float]:
    numbers = _unpacked(packed)
    if len(numbers) != len(names) or not all(isinstance(name, str) for name in names):
        raise StateUnreadable("a model's state has a number for each feature")
    return dict(zip(names, numbers, strict=True))


# LODA ----------------------------------------------------------------------------------------------------------------


def _loda_encode(model: LODA) -> list[State]:
    """Histograms only: the projections follow from the seed, as the splits of trees do (`river_state`)."""
    if not model.projections_:
        return []
    histograms = [
        [histogram.n, _packed([edge for bin_ in histogram.data for edge in (bin_.left, bin_.right)])]
        + [bin_.count for bin_ in histogram.data]
        for histogram in model.histograms_
    ]
    return [list(model.features_), crc32(repr(model.projections_).encode()), histograms]


def _loda_restore(model: LODA, fields: Sequence[State]) -> None:
    if not fields:
        return
    match fields:
        case [list(names), int(projections), list(histograms)] if all(isinstance(name, str) for name in names):
            model._initialize(dict.fromkeys(names, 0.0))
        case _:
            raise StateUnreadable("river.loda: expected features, projections, histograms")
    if crc32(repr(model.projections_).encode()) != projections or len(histograms) != len(model.histograms_):
        raise StateUnreadable("river.loda: this River draws other projections from the same seed")
    for histogram, state in zip(model.histograms_, histograms, strict=True):
        match state:
            case [int(count), bytes(packed), *counts] if all(type(each) is int for each in counts):
                edges = _unpacked(packed, 2 * model.n_bins)
            case _:
                raise StateUnreadable("river.loda: a histogram is a count, edges, and the bins' counts")
        if len(edges) != 2 * len(counts):
            raise StateUnreadable("river.loda: a bin has two edges and a count")
        histogram.n = count
        histogram.data = [Bin(*bin_) for bin_ in zip(edges[::2], edges[1::2], counts, strict=True)]


register(LODA, Codec("river.loda.1", _loda_encode, _loda_restore))

# Linear models -------------------------------------------------------------------------------------------------------


def _linear_encode(model: Any) -> list[State]:
    weights = model.weights
    return [list(weights), _packed(list(weights.values())), float(model.intercept), model.optimizer.n_iterations]


def _linear_restore(model: Any, fields: Sequence[State]) -> None:
    match fields:
        case [list(names), bytes(packed), float(intercept), int(iterations)]:
            model._weights = VectorDict(_by_name(names, packed))
            model.intercept = intercept
            model.optimizer.n_iterations = iterations
        case _:
            raise StateUnreadable("a linear model is features, weights, intercept, iterations")


register(OneClassSVM, Codec("river.one_class_svm.1", _linear_encode, _linear_restore))
register(LinearRegression, Codec("river.linear_regression.1", _linear_encode, _linear_restore))

# Scalers -------------------------------------------------------------------------------------------------------------


def _standard_encode(scaler: StandardScaler) -> list[State]:
    names = list(scaler.counts)
    counts = [scaler.counts[name] for name in names]
    return [names, counts, _packed([scaler.means[n] for n in names]), _packed([scaler.vars[n] for n in names])]


def _standard_restore(scaler: StandardScaler, fields: Sequence[State]) -> None:
    match fields:
        case [list(names), list(counts), bytes(means), bytes(variances)] if all(type(each) is int for each in counts):
            scaler.means.update(_by_name(names, means))
            scaler.vars.update(_by_name(names, variances))
        case _:
            raise StateUnreadable("river.standard_scaler: expected features, counts, means, variances")
    if len(counts) != len(names):
        raise StateUnreadable("river.standard_scaler: a count for each feature")
    scaler.counts.update(dict(zip(names, counts, strict=True)))


def _min_max_encode(scaler: MinMaxScaler) -> list[State]:
    names = list(scaler.min)
    return [names, _packed([scaler.min[n].get() for n in names]), _packed([scaler.max[n].get() for n in names])]


def _min_max_restore(scaler: MinMaxScaler, fields: Sequence[State]) -> None:
    match fields:
        case [list(names), bytes(lows), bytes(highs)]:
            for name, low in _by_name(names, lows).items():
                scaler.min[name].min = low
            for name, high in _by_name(names, highs).items():
                scaler.max[name].max = high
        case _:
            raise StateUnreadable("river.min_max_scaler: expected features, lows, highs")


register(StandardScaler, Codec("river.standard_scaler.1", _standard_encode, _standard_restore))
register(MinMaxScaler, Codec("river.min_max_scaler.1", _min_max_encode, _min_max_restore))

# Forecasters ---------------------------------------------------------------------------------------------------------


def _refill(memory: "deque[float]", packed: bytes) -> None:
    memory.clear()
    memory.extend(_unpacked(packed, memory.maxlen))


def _snarimax_encode(model: SNARIMAX) -> list[State]:
    memories = [_packed(list(memory)) for memory in (model.y_hist, model.y_diff, model.errors)]
    return [*memories, *(encode(step) for step in model.regressor.steps.values())]


def _snarimax_restore(model: SNARIMAX, fields: Sequence[State]) -> None:
    match fields:
        case [bytes(levels), bytes(differences), bytes(errors), *steps] if len(steps) == len(model.regressor.steps):
            _refill(model.y_hist, levels)
            _refill(model.y_diff, differences)
            _refill(model.errors, errors)
        case _:
            raise StateUnreadable("river.snarimax: expected levels, differences, errors and the regressor's steps")
    for step, state in zip(model.regressor.steps.values(), steps, strict=True):
        restore(step, state)


def _holt_winters_encode(model: HoltWinters) -> list[State]:
    components = (model.level, model.trend, model.season)
    return [
        model._initialized,
        _packed([] if model._initialized else model._first_values),
        *(_packed(list(component or ())) for component in components),
    ]


def _holt_winters_restore(model: HoltWinters, fields: Sequence[State]) -> None:
    match fields:
        case [bool(initialized), bytes(first), bytes(level), bytes(trend), bytes(season)]:
            model._initialized = initialized
            model._first_values = list(_unpacked(first, max(2, model.seasonality)))
        case _:
            raise StateUnreadable(
                "river.holt_winters: expected whether initialised, first values, level, trend, season"
            )
    for component, packed in ((model.level, level), (model.trend, trend), (model.season, season)):
        if component is not None:
            _refill(component, packed)
        elif packed:
            raise StateUnreadable("river.holt_winters: a component that this model does not have")


register(SNARIMAX, Codec("river.snarimax.1", _snarimax_encode, _snarimax_restore))
register(HoltWinters, Codec("river.holt_winters.1", _holt_winters_encode, _holt_winters_restore))
