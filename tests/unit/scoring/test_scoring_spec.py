"""What an operator may write about a model, and what they are told when it does not fit."""

from importlib.metadata import EntryPoint

import pytest
from river.anomaly import LocalOutlierFactor
from scoring_streams import SPECS, Feed, noise, spec_of

from services.scoring.parts import registry
from services.scoring.parts.registry import ENTRY_POINTS, Feature, Model, Parameter, Scaler, offer, offered
from services.scoring.spec import DEFAULT_SPEC, MODELS, InvalidSpec, ModelSpec
from services.scoring.state import register_fields

TREES = {"name": "half_space_trees", "trees": 3, "height": 5}


def test_a_spec_is_read_from_configuration():
    assert ModelSpec.parse({"name": "gaussian", "alarms_per_week": 3}) == ModelSpec("gaussian", 3.0)
    assert ModelSpec.parse({}) == DEFAULT_SPEC
    assert ModelSpec.parse({"name": "light"}) == ModelSpec("light")


def test_parts_are_read_with_their_parameters():
    spec = ModelSpec.parse(
        {"features": ["level", {"name": "mean", "readings": 7}], "scaler": "min_max", "model": TREES, "warm_up": 50}
    )
    assert (spec.name, spec.warm_up) == ("half_space_trees", 50)
    built = spec.pipeline.build()
    assert list(built.bounds) == ["level", "mean_7"]
    assert type(built.scaler).__name__ == "MinMaxScaler"
    assert (built.model.n_trees, built.model.height, built.model.window_size) == (3, 5, 100)


def test_a_model_s_name_with_its_parameters_stands_for_the_parts_that_go_with_it():
    long = ModelSpec.parse({"features": ["level", "change"], "scaler": "unit", "model": TREES})
    assert ModelSpec.parse(TREES) == long
    assert ModelSpec.parse({"model": TREES}) == long
    assert ModelSpec.parse({**TREES, "features": ["level", "change"]}) == long


@pytest.mark.parametrize("name", SPECS)
def test_specs_that_differ_have_fingerprints_that_differ(name):
    fingerprints = [repr(spec_of(other).fingerprint()) for other in SPECS]
    assert fingerprints.count(repr(spec_of(name).fingerprint())) == 1
    assert spec_of(name, alarms_per_week=2.0).fingerprint() != spec_of(name).fingerprint()


@pytest.mark.parametrize(
    ("mapping", "hint"),
    [
        ({"name": "magic"}, r"model.name: .*known: bands, light, gaussian, half_space_trees, loda"),
        ({"name": 7}, "model.name"),
        ({"nmae": "bands"}, "nmae; it has: name, alarms_per_week"),
        ({"name": "bands", "trees": 3}, "bands has no trees"),
        ({"name": "bands", "features": ["level"]}, "bands has no features"),
        ({"alarms_per_week": 0}, "alarms_per_week"),
        ({"alarms_per_week": "many"}, "alarms_per_week"),
        ({"warm_up": 1}, "warm_up"),
        ({"max_sensors": 0}, "max_sensors"),
        ({"name": "half_space_trees", "height": 40}, r"height: must be a whole number in \[1, 12\], not 40"),
        ({"name": "half_space_trees", "n_trees": 4}, "has no parameter n_trees; it has: trees, height, window"),
        ({"name": "gaussian", "model": "loda"}, "name beside `model`"),
        ({"model": "loda", "window": 9}, "window beside `model`"),
        ({"model": 9}, r"model.model: must be a model's name, or a mapping with `name`"),
        ({"model": {"cuts": 9}}, "model.model: must be"),
        ({"model": {"name": "loda", "cuts": 2.5}}, r"model.model.cuts: must be a whole number in \[1, 200\], not 2.5"),
        ({"model": {"name": "loda", "cuts": True}}, "model.model.cuts"),
        ({"model": {"name": "one_class_svm", "nu": float("nan")}}, "model.model.nu"),
        ({"features": ["level", "chnage"], "model": "loda"}, r"model.features\[1\]: .*known: level, change, lags"),
        ({"features": [], "model": "loda"}, "list of 1 to 16"),
        ({"features": "level", "model": "loda"}, "list of 1 to 16"),
        ({"features": ["level", {"name": "level", "within": 3}], "model": "loda"}, "level twice"),
        ({"features": [{"name": "mean", "readings": 1}], "model": "loda"}, r"model.features\[0\].readings"),
        ({"features": ["level", "change"], "model": "gaussian"}, "takes one number, not level, change"),
        ({"features": ["level", "change"], "model": "snarimax"}, "change holds the reading"),
        ({"features": ["time_of_day"], "model": "snarimax"}, "forecasts `level`"),
        ({"scaler": "standard", "model": "holt_winters"}, "model.scaler: HoltWinters forecasts"),
        ({"scaler": "robust", "model": "loda"}, "model.scaler: .*known: none, unit, min_max, standard"),
        ({"model": {"name": "holt_winters", "season": 24}}, "beta and gamma must be over 0"),
        ({"model": {"name": "snarimax", "p": 0, "q": 0}}, "one of p, q, sp, sq"),
        ({"model": {"name": "snarimax", "season": 300, "sp": 2}}, "300 readings at most"),
    ],
)
def test_a_wrong_spec_is_refused_and_says_what_is_allowed(mapping, hint):
    with pytest.raises(InvalidSpec, match=hint):
        ModelSpec.parse(mapping)


class Jump:
    """A model of another package: how far the level is from the one that it learnt last."""


@pytest.fixture
def another_package(monkeypatch):
    """An installed package that offers parts by entry points; what it offers is forgotten after the test."""
    monkeypatch.setattr(registry, "_offered", dict(registry._offered))
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group, name=None: [e for e in found if name in (None, e.name)])

    def install(name: str, value: str) -> None:
        found.append(EntryPoint(name, value, ENTRY_POINTS))

    return install


def test_a_part_of_another_package_is_found_by_its_entry_point(another_package):
    another_package("jump", "another_package:PART")
    spec = ModelSpec.parse({"name": "jump", "factor": 2.0})
    feed = Feed(spec)
    feed.all(noise(600, 1))
    assert feed.one(45.0).score > 0.5
    with pytest.raises(InvalidSpec, match="factor: must be a number in"):
        ModelSpec.parse({"model": {"name": "jump", "factor": 900}})


def test_a_part_that_cannot_be_loaded_or_stored_is_refused(another_package):
    another_package("gone", "another_package_that_is_gone:PART")
    with pytest.raises(InvalidSpec, match="gone' is another_package_that_is_gone:PART of an installed package"):
        ModelSpec.parse({"name": "gone"})
    offer(Model(name="lof", says="", build=LocalOutlierFactor))
    with pytest.raises(InvalidSpec, match=r"no state encoding for river\.anomaly\.lof\.LocalOutlierFactor"):
        ModelSpec.parse({"name": "lof"})
    offer(Model(name="jump", says="", build=Jump))
    register_fields(Jump, "test.jump.1")
    with pytest.raises(InvalidSpec, match="a Jump is no anomaly detector"):
        ModelSpec.parse({"name": "jump"})


def test_a_name_that_is_taken_is_not_offered_again():
    with pytest.raises(ValueError, match="a model 'loda' already"):
        offer(Model(name="loda", says="", build=LocalOutlierFactor))


def test_every_part_has_a_text_and_defaults_within_its_bounds():
    for stage in (Feature, Scaler, Model):
        for part in offered(stage):
            assert part.says
            for name, parameter in part.parameters.items():
                assert isinstance(parameter, Parameter)
                assert parameter.checked(parameter.default, name) == parameter.default
    assert MODELS[2:] == tuple(part.name for part in offered(Model))[: len(MODELS) - 2]
