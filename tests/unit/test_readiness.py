"""When a service says that what it depends on is away."""

import pytest

from services.runtime import logging
from services.runtime.health import Answers, Health


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ("", True),
        ("-", True),
        ("--", False),
        ("---", False),
        ("-+-", True),
        ("--+", True),
        ("--+-", True),
        ("--+--", False),
    ],
)
def test_two_questions_in_a_row_without_an_answer_are_an_absence(answers, ready):
    health = Health()
    kafka = Answers(health, "kafka", logging.Outage(logging.get("test"), "away", "back"))
    for answer in answers:
        kafka.came() if answer == "+" else kafka.failed("timed out")
    assert health.waiting() == ({} if ready else {"kafka": "timed out"})
