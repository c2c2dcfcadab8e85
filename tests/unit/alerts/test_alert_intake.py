"""What the intake refuses to begin with."""

from typing import Any

import pytest
from alert_fakes import FakeJournal, World
from confluent_kafka import TopicPartition
from knife import Knife

from services.alerts import rules
from services.alerts.intake import Intake, check_origin
from services.alerts.worker import Worker
from services.runtime.errors import ConfigurationError, Defect
from services.runtime.settings import KafkaSettings

RULES = rules.parse("rules: [{name: open, source: anomalies, when: score > 0.5}]")


class Group:
    """A consumer that only remembers who is to be called."""

    on_assign: Any

    def subscribe(self, _topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign = on_assign


def test_an_assignment_that_parts_a_devices_topics_stops_the_worker():
    group = Group()
    Intake(KafkaSettings(), group, Worker(RULES, FakeJournal(World(), Knife()), {}), lambda: None).subscribe()
    parted = [TopicPartition("telemetry.anomalies", 0), TopicPartition("telemetry.aggregates", 1)]
    with pytest.raises(Defect, match="same number together"):
        group.on_assign(group, parted)


def test_state_that_is_ahead_of_its_topic_is_refused_with_the_fix():
    check_origin("telemetry.anomalies", 3, applied=9, end=10)
    check_origin("telemetry.anomalies", 3, applied=-1, end=0)
    with pytest.raises(ConfigurationError, match="remove the topic weir-alerts-state"):
        check_origin("telemetry.anomalies", 3, applied=10, end=10)
