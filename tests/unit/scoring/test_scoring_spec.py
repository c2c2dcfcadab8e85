import pytest

from services.scoring.spec import DEFAULT_SPEC, InvalidSpec, ModelSpec


def test_a_spec_is_read_from_configuration():
    assert ModelSpec.parse({"name": "gaussian", "alarms_per_week": 3}) == ModelSpec("gaussian", 3.0)
    assert ModelSpec.parse({}) == DEFAULT_SPEC


@pytest.mark.parametrize(
    ("mapping", "hint"),
    [
        ({"name": "magic"}, "known: bands, light, gaussian, half_space_trees"),
        ({"nmae": "bands"}, "nmae"),
        ({"alarms_per_week": 0}, "alarms_per_week"),
        ({"alarms_per_week": "many"}, "alarms_per_week"),
        ({"warm_up": 1}, "warm_up"),
        ({"max_sensors": 0}, "max_sensors"),
        ({"height": 40}, "height"),
    ],
)
def test_a_wrong_spec_is_refused_and_says_what_is_allowed(mapping, hint):
    with pytest.raises(InvalidSpec, match=hint):
        ModelSpec.parse(mapping)
