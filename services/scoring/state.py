"""Versioned, allow-listed encoding of what a scorer has learnt."""

from typing import Any, TypeAlias

State: TypeAlias = Any
"""Nested lists of int, float, str, bytes, bool and None: what msgpack can carry."""


class StateUnreadable(ValueError):
    """This state was written by another version or for another spec. Build the scorer anew from the log."""
