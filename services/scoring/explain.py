"""From culprits to one sentence in plain words."""

from collections.abc import Sequence

from schemas.anomaly import Culprit
from schemas.telemetry import Severity
from services.scoring.severity import severity_of

_OPENING = {
    Severity.NONE: "Nothing unusual at",
    Severity.NOTICE: "Unusual at",
    Severity.WARNING: "Very unusual at",
    Severity.CRITICAL: "Extremely unusual at",
}
_WORTH_NAMING = 0.2


def sentence(device: str, culprits: Sequence[Culprit], score: float) -> str:
    """One sentence for the plant: how unusual, where, which sensor read what, what was expected, who else takes part.

    `culprits` are sorted, largest share first. Sensors with a share under a fifth are not named.
    """
    opening = f"{_OPENING[severity_of(score)]} {device}"
    if not culprits:
        return f"{opening}."
    first, *others = culprits
    also = [other.sensor for other in others if other.share >= _WORTH_NAMING]
    together = f"; {_listed(also)} deviated as well" if also else ""
    return f"{opening}: {_observation(first)}{together}."


def _observation(culprit: Culprit) -> str:
    read = f"{culprit.sensor} read {_number(culprit.observed)}"
    low, high = culprit.expected_low, culprit.expected_high
    if low is None or high is None:
        return f"{read}, and what is normal is not known yet"
    usual = f"{_number(low)} to {_number(high)}"
    if culprit.observed > high:
        return f"{read}, above the usual {usual}"
    if culprit.observed < low:
        return f"{read}, below the usual {usual}"
    return f"{read}, inside the usual {usual}, but its recent course is not as usual"


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
