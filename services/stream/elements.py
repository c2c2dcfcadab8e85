"""What is asked of a message's elements before they are worked off. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.reasons import Reason
from schemas.telemetry import TimeSource
from services.runtime.errors import Poison
from services.stream.clock_rules import event_time
from services.stream.decoders import Element
from services.stream.device import Device

MOST_READINGS: Final = 10_000
"""Of one message; each becomes records of its own, so that one message must not become a flood."""


def check_size(elements: Sequence[Element]) -> None:
    """Raise `Poison` where a message has too many readings."""
    first = elements[0]
    readings = first.entries if len(elements) == 1 else sum(max(1, element.entries) for element in elements)
    if readings > MOST_READINGS:
        raise Poison(Reason.TOO_LARGE, f"{readings} readings; at most {MOST_READINGS} in a message")


def check_claims(claims: Mapping[str, object], device: Device) -> None:
    """Raise `Poison` where the payload says that it is from somebody else than its topic says."""
    whose = device.whose
    true = {"tenant": whose.tenant, "site": device.site, "device": whose.device}
    for name, claim in claims.items():
        if claim != true[name]:
            raise Poison(Reason.IDENTITY_MISMATCH, f"the payload says {name} {claim!r:.80}, the topic {true[name]!r}")


def tells_time(element: Element, received_us: int) -> bool:
    """Whether the device says when it was, be it a time that cannot be."""
    try:
        return event_time(element.ts, received_us)[1] is not TimeSource.RECEIVED
    except Poison:
        return True


def sensors_of(element: Element) -> list[str]:
    """The readings' sensors in the order of their indexes; a broken element is one reading of no sensor."""
    return sorted([*element.values, *(element.odd or ())]) if element.broken is None else [""]
