"""A fault on a warm device: an anomaly within 6 readings, an alarm at the webhook within 5 s, both closed after it."""

import json
import time

import pytest

from tests.e2e.system import FAULT_S, eventually


def test_the_anomaly_opens_within_six_readings_and_closes(weir, labels):
    (label,) = labels

    def mine():
        records = [r for r in weir.records("telemetry.anomalies") if r["tenant"] == "fault"]
        return [r for r in records if r["device"] == label.device and r["opened_us"] >= label.from_us]

    closed = eventually(lambda: [r for r in mine() if r["phase"] == "closed"], 60, "the anomaly closed")[0]
    life = sorted((r for r in mine() if r["anomaly"] == closed["anomaly"]), key=lambda r: r["revision"])
    assert life[0]["phase"] == "opened"
    scored = [r for r in weir.records("telemetry.scores") if r["tenant"] == "fault" and r["device"] == label.device]
    during = sorted(r["event_us"] for r in scored if label.from_us <= r["event_us"] <= life[0]["opened_us"])
    assert len(during) <= 6
    assert life[0]["culprit"] == "flow"
    assert label.device in life[0]["sentence"]
    assert closed["end_us"] <= label.to_us + 10_000_000


def test_the_alarm_reaches_the_webhook_within_five_seconds_and_clears(weir, labels):
    (label,) = labels

    def posted(phase):
        return [
            (at, body)
            for at, _, body in weir.webhook.posted
            if body["tenant"] == "fault" and body["phase"] == phase and body["at_us"] >= label.from_us
        ]

    cleared = eventually(lambda: posted("cleared"), 60, "the alarm cleared")
    raised = posted("raised")
    assert len(raised) == len(cleared)
    at, body = raised[0]
    opened = min(
        r["event_us"]
        for r in weir.records("telemetry.anomalies")
        if r["tenant"] == "fault" and r["device"] == label.device and r["event_us"] >= label.from_us
    )
    assert at - opened / 1e6 < 5.0
    assert cleared[0][1]["alarm"] == body["alarm"]
    keys = [key for _, key, _ in weir.webhook.posted]
    assert len(keys) == len(set(keys)), "a notification went out twice without a kill"


def test_the_published_labels_tell_what_was_injected(labels):
    (label,) = labels
    assert (label.kind, label.sensor) == ("step", "flow")
    assert label.to_us - label.from_us == pytest.approx(FAULT_S * 1e6, abs=2e6)
    assert json.dumps(label.device) == '"pump-01"'
    assert label.from_us < time.time() * 1e6
