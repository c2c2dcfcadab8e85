"""From a score to the word that an operator reads."""

from typing import Final

from schemas.telemetry import Severity

ALARM_LINE: Final = 0.5
WARNING_LINE: Final = 0.7
CRITICAL_LINE: Final = 0.8


def severity_of(score: float) -> Severity:
    """None under 0.5, notice from 0.5, warning from 0.7, critical from 0.8.

    The lines follow what alarms were worth on labelled data (NAB, reference pipeline): 30 % of alarms with a score of
    0.5 to 0.7 lay inside a labelled window, 42 % of those from 0.7 to 0.8, 77 % of those above.
    """
    if score < ALARM_LINE:
        return Severity.NONE
    if score < WARNING_LINE:
        return Severity.NOTICE
    return Severity.WARNING if score < CRITICAL_LINE else Severity.CRITICAL
