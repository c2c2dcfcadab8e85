"""Routes: which device a topic names, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import mqtt
from schemas.reasons import Reason
from services.runtime.errors import ConfigurationError
from services.runtime.routes import Kind, Placed, Rejected, load_routes

EXAMPLE = Path("deploy/bridge/routes.example.yaml")
DEFAULT = load_routes(None)


def routes_of(tmp_path: Path, text: str):
    path = tmp_path / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return load_routes(path)


def test_the_contracts_topics_are_placed_by_default():
    place = DEFAULT.place(mqtt.telemetry_topic("acme", "berlin", "pump-1"))

    assert isinstance(place, Placed)
    assert (place.route.name, place.route.kind, place.route.decoder) == ("telemetry", Kind.TELEMETRY, "json")
    assert (place.tenant, place.site, place.device, place.key) == ("acme", "berlin", "pump-1", b"acme/pump-1")
    assert DEFAULT.place(mqtt.status_topic("acme", "berlin", "pump-1")).route.kind is Kind.STATUS


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("weir/v1/acme/berlin/pump-1", Reason.UNROUTABLE),
        ("weir/v1/acme/berlin/pump-1/telemetry/more", Reason.UNROUTABLE),
        ("weir/v1/acme/berlin/pump-1/Telemetry", Reason.UNROUTABLE),
        ("weir-out/v1/acme/berlin/pump-1/alarms", Reason.UNROUTABLE),
        ("", Reason.UNROUTABLE),
        ("////", Reason.UNROUTABLE),
        ("weir/v1/acme/berlin//telemetry", Reason.BAD_TOPIC),
        ("weir/v1/acme/berlin/pump 1/telemetry", Reason.BAD_TOPIC),
        ("weir/v1/$/berlin/$/telemetry", Reason.BAD_TOPIC),
        ("weir/v1/acme/berlin/pümp/telemetry", Reason.BAD_TOPIC),
        ("weir/v1/acme/berlin/pump\n/telemetry", Reason.BAD_TOPIC),
        (f"weir/v1/acme/berlin/{'d' * 65}/telemetry", Reason.BAD_TOPIC),
        ("weir/v1/" + "x" * 5000, Reason.BAD_TOPIC),
    ],
)
def test_a_topic_without_a_device_is_rejected_with_its_reason(topic: str, reason: Reason):
    place = DEFAULT.place(topic)

    assert isinstance(place, Rejected)
    assert place.reason is reason
    assert place.detail
    assert len(place.detail) < 400


@given(st.text(max_size=200))
def test_no_topic_raises_or_places_a_bad_id(topic: str):
    for tried in (topic, f"weir/v1/{topic}/telemetry", f"weir/v1/acme/berlin/{topic}/telemetry"):
        place = DEFAULT.place(tried)
        if isinstance(place, Placed):
            assert all(mqtt.ID.fullmatch(part) for part in (place.tenant, place.site, place.device))


def test_the_example_file_does_what_its_comments_say():
    routes = load_routes(EXAMPLE)

    pump = routes.place("plant/north/pump-7/data")
    will = routes.place("plant/north/pump-7/lwt")
    behind = routes.place("gateway/hamburg/fw-2.1/plc-3/values/block/1")

    assert (pump.route.name, pump.tenant, pump.site, pump.device) == ("plant-north", "acme", "north", "pump-7")
    assert (will.route.kind, will.device) == (Kind.STATUS, "pump-7")
    assert (behind.tenant, behind.site, behind.device) == ("acme", "hamburg", "plc-3")
    assert isinstance(routes.place("gateway/hamburg/fw-2.1/plc-3"), Rejected)
    assert routes["gateway"].decoder == "json"
    assert routes.filters() == (
        "weir/v1/#",
        "plant/north/+/data",
        "plant/north/+/lwt",
        "gateway/+/+/+/values/#",
    )


def test_the_first_route_that_places_a_topic_wins(tmp_path: Path):
    routes = routes_of(
        tmp_path,
        """
        routes:
          - {name: narrow, topic: "plant/{device}/hot", tenant: acme, site: north, decoder: json}
          - {name: wide, topic: "plant/{device}/+", tenant: acme, site: south}
        """,
    )

    assert routes.place("plant/d1/hot").route.name == "narrow"
    assert routes.place("plant/d1/cold").route.name == "wide"
    assert routes.filters() == ("weir/v1/#", "plant/+/+")


def test_a_route_inside_the_default_tree_adds_no_second_subscription(tmp_path: Path):
    routes = routes_of(tmp_path, 'routes: [{name: short, topic: "weir/v1/{tenant}/{device}/telemetry", site: main}]')

    assert routes.filters() == ("weir/v1/#",)
    assert routes.place("weir/v1/acme/d1/telemetry").site == "main"


def test_what_weir_itself_publishes_is_placed_by_no_route(tmp_path: Path):
    routes = routes_of(tmp_path, 'routes: [{name: any, topic: "{tenant}/alarms/{site}/{device}"}]')

    assert isinstance(routes.place("acme/alarms/berlin/d1"), Placed)
    assert routes.place("weir-out/alarms/berlin/d1").reason is Reason.UNROUTABLE


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('{name: a, topic: "x/{device}"}', "its tenant"),
        ('{name: a, topic: "x/{device}", tenant: t, site: s, device: d}', "its device exactly once"),
        ('{name: a, topic: "x/{device}/{device}", tenant: t, site: s}', "its device exactly once"),
        ('{name: a, topic: "x/{sensor}/{device}", tenant: t, site: s}', "{sensor}"),
        ('{name: a, topic: "x/pre-{device}", tenant: t, site: s}', "pre-{device}"),
        ('{name: a, topic: "x+/{device}", tenant: t, site: s}', "whole levels"),
        ('{name: a, topic: "x/#/{device}", tenant: t, site: s}', "last level"),
        ('{name: a, topic: "weir-out/{device}", tenant: t, site: s}', "loop"),
        ('{name: a, topic: "x/{device}", tenant: "no good", site: s}', "tenant"),
        ('{name: A, topic: "x/{device}", tenant: t, site: s}', "name"),
        ('{name: a, topic: "x/{device}", tenant: t, site: s, kind: other}', "kind"),
        ('{name: a, topic: "x/{device}", tenant: t, site: s, decodr: json}', "decodr"),
        ('{name: telemetry, topic: "x/{device}", tenant: t, site: s}', "share a name"),
        (
            '{name: a, topic: "x/{device}/+/v", tenant: t, site: s},'
            ' {name: b, topic: "x/+/{device}/+", tenant: t, site: s},'
            ' {name: c, topic: "+/{device}/y/z", tenant: t, site: s}',
            "topics in common",
        ),
    ],
)
def test_a_route_that_makes_no_sense_is_refused_by_name_of_the_fix(tmp_path: Path, entry: str, says: str):
    with pytest.raises(ConfigurationError, match=r"routes\.yaml") as refused:
        routes_of(tmp_path, f"routes: [{entry}]")

    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["routes: [", "just text", "", "routes: {}", "other: []"])
def test_a_file_that_is_no_routes_file_is_refused(tmp_path: Path, text: str):
    with pytest.raises(ConfigurationError):
        routes_of(tmp_path, text)


def test_a_missing_file_is_refused_with_the_settings_name(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="WEIR_BRIDGE__ROUTES_FILE"):
        load_routes(tmp_path / "none.yaml")
