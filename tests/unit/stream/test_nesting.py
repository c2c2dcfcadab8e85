"""How deep JSON is nested, told from its brackets: against a parser that is asked for the depth of what it read."""

import json

from hypothesis import given
from hypothesis import strategies as st

from services.stream.decoders.nesting import deeper_than

TEXTS = st.text('[]{}"\\a ', max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=30,
)


def depth_of(value):
    if not isinstance(value, list | dict):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inside), default=0)


@given(DOCUMENTS, st.integers(0, 8))
def test_of_json_it_tells_the_depth_whatever_stands_in_its_strings(document, levels):
    assert deeper_than(json.dumps(document).encode(), levels) is (depth_of(document) > levels)


def test_brackets_in_an_unclosed_string_do_not_take_long():
    assert deeper_than(b"[" * 17 + b'"\\' * 130_000, 16)


def test_what_is_never_closed_counts_too():
    assert deeper_than(b"[{" * 9, 16)
    assert not deeper_than(b"[{" * 8, 16)
