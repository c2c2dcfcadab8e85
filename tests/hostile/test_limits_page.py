"""docs/limits.md says what the code does: its numbers, settings and metrics are there."""

import re
from pathlib import Path

import pytest

from schemas import topics
from services.alerts import condition, outbox, rules, template, worker
from services.bridge import envelope
from services.console import live_state
from services.runtime import routes, yaml_text
from services.runtime.settings import BridgeOptions, SinkOptions, StreamOptions, known_names
from services.scoring.drift import hours
from services.sink import lines
from services.stream import dead_letters, device, elements, intake, pipeline, populations, redelivery, sequence
from services.stream.decoders import json_payload

PAGE = Path("docs/limits.md").read_text()
CODE = "\n".join(path.read_text() for path in Path("services").rglob("*.py"))
CONFIGURATION = Path("deploy/local/mosquitto/mosquitto.conf").read_text()


def test_every_metric_of_the_page_is_one():
    for name in sorted(set(re.findall(r"weir_[a-z0-9_]+[a-z0-9]", PAGE))):
        stem = name.removesuffix("_total").removeprefix("weir_stream_")
        assert f'"{name}"' in CODE or f'"{stem}"' in CODE, name


def test_every_setting_of_the_page_is_one():
    service = ""
    for name in re.findall(r"`(WEIR_[A-Z]+__[A-Z_]+|__[A-Z_]+)`", PAGE):
        if name.startswith("WEIR_"):
            service = name.partition("__")[0]
        assert (name if name.startswith("WEIR_") else service + name) in known_names()


@pytest.mark.parametrize(
    ("says", "number"),
    [
        ("messages that are not yet durable in Kafka | 256 ", BridgeOptions().receive_maximum),
        ("payload | 256 KiB", BridgeOptions().max_payload_bytes // 1024),
        ("one chunk | 1,000 records", StreamOptions().batch_messages),
        ("about 1 MiB; 256 KiB", intake.CHUNK_BYTES // 1024),
        ("lines in hand | 10,000", SinkOptions().batch_lines),
        ("notifications that wait | 10,000", outbox.LIMIT),
        ("a channel, 50 a device", outbox.DEVICE_LIMIT),
        ("sensors of a device | 64", pipeline.DEFAULT_BUDGETS.sensors_per_device),
        ("sites of a device | 8", device.MOST_SITES),
        ("ranges of a device | 64", sequence.MAX_HOLES),
        ("a leap over 1,000,000", sequence.MAX_RANGE),
        ("hashes of a device | 1,024", redelivery.MEMORY),
        ("sensor without `seq` | 8", device.REMEMBERED_TIMES),
        ("of types of devices: 256", populations.MOST_POPULATIONS),
        ("means of 48", hours.KINDS_OF_HOUR),
        ("forgotten 7 days (event time)", worker.IDLE_US // 86_400_000_000),
        ("alerts: rules | 500", rules.MAX_RULES),
        ("a condition 2,000", condition.MAX_LENGTH),
        ("a summary 500", template.MAX_LENGTH),
        ("placed lately | 32,768", routes._CACHED_TOPICS),
        ("at most 256 characters each", routes._LONGEST_CACHED),
        ("topic | 1,024", routes._LONGEST_TOPIC),
        ("beginnings of lines | 100,000", lines._MOST_PREFIXES),
        ("live table | 5,000", live_state.MOST_DEVICES),
        ("nesting | 16", json_payload._DEEPEST),
        ("beyond 40 digits", json_payload._MAX_DIGITS),
        ("readings in a message | 10,000", elements.MOST_READINGS),
        ("dead letters of its readings | 4 KiB", dead_letters.REPEATED_PAYLOAD_BYTES // 1024),
        ("status text | 1 KiB", envelope.STATUS_BYTES // 1024),
        ("4 Mi characters", yaml_text.LARGEST // 1024**2),
        ("characters, 32 levels", yaml_text.DEEPEST),
        ("levels, 200,000 values", yaml_text.MOST_VALUES),
        ("raw 7 d", topics.ALL[0].retention_ms // 86_400_000),
        ("8 GiB a partition", topics.ALL[0].retention_bytes // 1024**3),
        ("that stays away, or whose acknowledgements wait | 256 MiB", 256),
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_code(says, number):
    assert says in PAGE
    assert f"{number:,}" in says


def test_mosquittos_limits_are_in_its_configuration():
    assert f"max_queued_bytes {256 * 1024**2}" in CONFIGURATION
    assert f"max_packet_size {1088 * 1024}" in CONFIGURATION
    assert "max_queued_messages 0" in CONFIGURATION
