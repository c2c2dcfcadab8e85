"""What an answer of InfluxDB means."""

from datetime import UTC, datetime

import pytest

from services.sink.outcomes import Outcome, Verdict, message_of, outcome_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def verdict(status: int, body: str = "") -> Verdict:
    return outcome_of(status, {}, body, NOW).verdict


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (204, Verdict.STORED),
        (200, Verdict.STORED),
        (400, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (413, Verdict.TOO_LARGE),
        (408, Verdict.LATER),
        (429, Verdict.LATER),
        (500, Verdict.LATER),
        (502, Verdict.LATER),
        (503, Verdict.LATER),
        (504, Verdict.LATER),
        (301, Verdict.MISCONFIGURED),
        (401, Verdict.MISCONFIGURED),
        (403, Verdict.MISCONFIGURED),
        (404, Verdict.MISCONFIGURED),
        (405, Verdict.MISCONFIGURED),
    ],
)
def test_every_status_has_a_verdict(status: int, expected: Verdict):
    assert verdict(status) is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("1.5", 1.5),
        ("86400", 300.0),
        ("nan", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_is_bounded(header: str, seconds: float | None):
    assert outcome_of(503, {"Retry-After": header}, "", NOW).retry_after_s == seconds


def test_retry_after_is_found_whatever_its_case():
    assert outcome_of(429, {"retry-after": "4"}, "", NOW).retry_after_s == 4.0


def test_a_partial_write_tells_how_many_lines_it_dropped():
    body = (
        '{"error":"partial write: field type conflict: input field \\"v\\" on measurement \\"m\\" is type string, '
        'already exists as type float dropped=2"}'
    )
    outcome = outcome_of(400, {}, body, NOW)
    assert outcome.dropped == 2
    assert "already exists as type float" in outcome.why


def test_the_count_of_dropped_lines_is_found_behind_a_long_message():
    body = '{"error":"partial write: ' + "unable to parse\\n" * 200 + ' dropped=17"}'
    outcome = outcome_of(400, {}, body, NOW)
    assert outcome.dropped == 17
    assert len(outcome.why) < 600


def test_a_line_that_can_not_be_parsed_tells_no_count():
    assert outcome_of(400, {}, '{"error":"unable to parse \'bad\': missing fields"}', NOW).dropped is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error":"database not found: \\"x\\""}', 'database not found: "x"'),
        ('{"code":"not found","message":"bucket \\"x\\" not found"}', 'bucket "x" not found'),
        (b"<html>\n bad gateway </html>", "<html> bad gateway </html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ('{"code":"internal"}', '{"code":"internal"}'),
        ("[]", "[]"),
        ("", ""),
    ],
)
def test_what_an_error_says_is_found_in_any_body(body: bytes | str, message: str):
    assert message_of(body) == message


def test_an_outcome_names_the_status():
    assert outcome_of(404, {}, '{"error":"database not found"}', NOW) == Outcome(
        Verdict.MISCONFIGURED, "HTTP 404: database not found"
    )
