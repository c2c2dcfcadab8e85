import pytest

from schemas.anomaly import Culprit
from schemas.telemetry import Severity
from services.scoring.explain import sentence
from services.scoring.severity import severity_of


def test_severity_follows_the_score():
    cases = [(0.0, "none"), (0.499, "none"), (0.5, "notice"), (0.7, "warning"), (0.8, "critical"), (1.0, "critical")]
    assert [(score, severity_of(score)) for score, _ in cases] == [(score, Severity(word)) for score, word in cases]


@pytest.mark.parametrize(
    ("culprits", "score", "expected"),
    [
        (
            [Culprit("temperature", 1.0, 93.21, 20.1, 24.8)],
            0.85,
            "Extremely unusual at pump-7: temperature read 93.21, above the usual 20.1 to 24.8.",
        ),
        (
            [
                Culprit("flow", 0.6, 0.0, 3.0, 5.0),
                Culprit("pressure", 0.3, 9.0, 1.0, 2.0),
                Culprit("hum", 0.1, 1.0, 0, 2),
            ],
            0.55,
            "Unusual at pump-7: flow read 0, below the usual 3 to 5; pressure deviated as well.",
        ),
        (
            [Culprit("hum", 1.0, 1.5, 1.0, 2.0)],
            0.75,
            "Very unusual at pump-7: hum read 1.5, inside the usual 1 to 2, but its recent course is not as usual.",
        ),
        (
            [Culprit("speed", 1.0, 1e300, None, None)],
            0.9,
            "Extremely unusual at pump-7: speed read 1e+300, and what is normal is not known yet.",
        ),
        ([], 0.1, "Nothing unusual at pump-7."),
    ],
)
def test_one_sentence_says_what_was_seen_and_what_is_usual(culprits, score, expected):
    assert sentence("pump-7", culprits, score) == expected
