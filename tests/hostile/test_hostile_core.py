"""Whatever is published ends as readings, as dead letters, or as a repeat; the short form of `make fuzz`."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.reasons import Reason
from services.runtime.errors import Poison
from services.stream.decoders.json_payload import JsonDecoder
from tests.hostile import hostile_json
from tests.hostile.fuzz import fuzz
from tests.hostile.hostile_core import Core
from tests.hostile.hostile_inputs import (
    NOON_US,
    NUMBERS,
    SENSORS,
    SEQS,
    TIMES,
    TOPICS,
    encode,
    message,
    telemetry_topic,
)

NO_JSON = {Reason.MALFORMED, Reason.NOT_UTF8}
TOPIC = telemetry_topic("pump-9")
PLACES = (b"%b", b'{"values":{"a":%b,"b":1}}', b'{"values":{"b":1},"more":%b}', b'{"a":true,"b":1,"more":{"x":%b}}')


def fate(payload: bytes) -> Reason | None:
    """Why the decoder refuses the payload; None where it takes it."""
    try:
        JsonDecoder().decode(payload)
    except Poison as poison:
        return poison.reason
    return None


def shown(document: bytes) -> str:
    return repr(document[:30]) + str(len(document))


def test_generated_inputs_end_as_readings_dead_letters_or_repeats():
    ended = fuzz(11, 2500)
    assert sum(ended[way] for way in ("decoded", "repeat", "dead", "status", "retained")) == 2500
    assert min(ended["decoded"], ended["repeat"], ended["dead"]) > 50
    dead_for = {name for name in ended if name.startswith("message: ")}
    assert len(dead_for) >= 9


@pytest.mark.parametrize("document", hostile_json.GOOD, ids=shown)
def test_what_is_json_is_never_called_malformed(document):
    for place in PLACES:
        assert fate(place % document) not in NO_JSON


@pytest.mark.parametrize("document", hostile_json.BAD, ids=shown)
def test_what_is_no_json_is_malformed_wherever_it_stands(document):
    for place in PLACES:
        assert fate(place % document) in NO_JSON | {Reason.TOO_DEEP}


@pytest.mark.parametrize("document", hostile_json.NOT_UTF8, ids=shown)
def test_what_is_no_utf8_is_said_to_be_none_wherever_it_stands(document):
    for place in PLACES:
        assert fate(place % document) is (Reason.MALFORMED if document.isascii() else Reason.NOT_UTF8)


@pytest.mark.parametrize("document", hostile_json.DEEP, ids=shown)
def test_what_is_too_deep_is_refused_wherever_it_stands(document):
    for place in PLACES:
        assert fate(place % document) is Reason.TOO_DEEP
        assert fate(place % document[: len(document) // 2]) in (Reason.TOO_DEEP, Reason.MALFORMED)


@pytest.mark.parametrize(("opening", "closing", "levels"), [(b"[", b"]", 10**6), (b'{"a":', b"}", 10**5)])
def test_a_million_levels_are_refused(opening, closing, levels):
    # Four and two times as long as a message may be, unless a setting allows longer ones.
    for payload in (opening * levels, opening * levels + b"1" + closing * levels):
        assert fate(payload) is Reason.TOO_DEEP


@pytest.fixture(scope="module")
def core() -> Core:
    return Core()


@pytest.mark.parametrize("document", hostile_json.ALL, ids=shown)
def test_every_document_in_every_place_of_a_message_passes_through_the_core(core, document):
    for place in (*PLACES, b'{"ts":%b,"values":{"a":1}}', b'{"seq":%b,"values":{"a":1}}', b"[%b,%b]" % (b"%b", b"5")):
        core.publish(message(TOPIC, place % document), NOON_US)


@pytest.mark.parametrize("topic", TOPICS, ids=shown)
def test_no_topic_speaks_for_a_device_that_it_does_not_spell(core, topic):
    ended = core.publish(message(topic, b'{"values":{"a":1}}'), NOON_US)
    for output in ended.outputs:
        if output.topic == topics.DEAD_LETTER:
            assert output.key == topics.UNPLACED_KEY
        else:
            tenant, site, device = output.record.tenant, output.record.site, output.record.device
            assert topic == f"weir/v1/{tenant}/{site}/{device}/telemetry".encode()


@pytest.mark.parametrize("claim", ["tenant", "site", "device"])
@pytest.mark.parametrize("said", ["other", "ACME", "acme/", 5, ["acme"], {"a": 1}, "north ", "", True])
def test_a_payload_that_claims_to_be_of_another_is_dead(core, claim, said):
    ended = core.publish(message(TOPIC, encode({"values": {"a": 1.0}, claim: said})), NOON_US)
    assert (ended.how, ended.reasons) == ("dead", (Reason.IDENTITY_MISMATCH,))


values = st.one_of(st.sampled_from(NUMBERS), st.floats(), st.text(max_size=3), st.booleans(), st.none())
elements = st.fixed_dictionaries(
    {"values": st.dictionaries(st.sampled_from(SENSORS) | st.text(max_size=3), values, max_size=4)},
    optional={"ts": st.sampled_from(TIMES) | st.floats() | st.integers(), "seq": st.sampled_from(SEQS) | st.integers()},
)


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(
    st.binary(max_size=40) | st.binary(max_size=40), st.binary(max_size=80) | st.lists(elements, max_size=3).map(encode)
)
def test_any_topic_with_any_payload_passes_through_the_core(core, topic, payload):
    core.publish(message(topic, payload), NOON_US)
    core.publish(message(TOPIC, payload), NOON_US)
