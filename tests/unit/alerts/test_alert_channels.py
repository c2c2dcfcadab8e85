"""The webhook against a real HTTP server: what is sent, and how each answer is judged."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from test_alert_outbox import entry

from schemas.alarm import AlarmEvent
from services.alerts.channels import Webhook
from services.alerts.courier import Answer, Outcome
from services.runtime.errors import ConfigurationError

DEADLINE_S = 60.0
_STOP_S = 0.01
"""How often a server looks whether it is to end; its own half second, once a test, is most of this file's time."""


class Receiver:
    def __init__(self) -> None:
        self.status, self.headers = 200, dict[str, str]()
        self.heard: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                for name, value in {"Content-Length": "0", **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(_STOP_S,), daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def answer_of(url: str, timeout_s: float = 5.0) -> Answer:
    webhook = Webhook(SecretStr(url), timeout_s)
    webhook.send(entry("pump-1"))
    deadline = time.monotonic() + DEADLINE_S
    answers: list[Answer] = []
    while not answers:
        assert time.monotonic() < deadline
        answers = webhook.answers()
        time.sleep(0.01)
    webhook.close()
    (answer,) = answers
    return answer


def test_the_event_is_posted_as_json_with_its_id_as_idempotency_key(receiver: Receiver):
    assert answer_of(f"http://{receiver.address}/hook?token=s3cret").outcome is Outcome.SENT
    ((headers, body),) = receiver.heard
    event = entry("pump-1").notification.event
    assert msgspec.json.decode(body, type=AlarmEvent) == event
    assert headers["idempotency-key"] == event.id
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "sent"),
        (204, "sent"),
        (301, "away"),
        (400, "refused"),
        (401, "away"),
        (404, "away"),
        (413, "refused"),
        (422, "refused"),
        (429, "away"),
        (500, "away"),
        (503, "away"),
    ],
)
def test_an_answer_is_judged_by_whether_it_may_be_another_one_later(receiver: Receiver, status: int, outcome: str):
    receiver.status = status
    assert answer_of(f"http://{receiver.address}/").outcome == outcome


@pytest.mark.parametrize(("asked", "granted"), [("7", 7.0), ("999999", 300.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_a_receiver_may_ask_for_patience_in_seconds_up_to_a_limit(
    receiver: Receiver, asked: str, granted: float | None
):
    receiver.status, receiver.headers = 429, {"Retry-After": asked}
    assert answer_of(f"http://{receiver.address}/").retry_after_s == granted


def test_nobody_there_is_away_and_the_detail_does_not_hold_the_address(receiver: Receiver):
    receiver.server.shutdown()
    receiver.server.server_close()
    answer = answer_of(f"http://{receiver.address}/hook?token=s3cret")
    assert answer.outcome is Outcome.AWAY
    assert "s3cret" not in answer.detail
    assert receiver.address not in answer.detail


def test_a_receiver_that_takes_the_post_and_never_answers_is_away_after_the_timeout():
    """As over a half-open connection: the kernel accepts, and nobody reads."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        answer = answer_of(f"http://127.0.0.1:{deaf.getsockname()[1]}/", timeout_s=0.2)
    assert (answer.outcome, answer.detail) == (Outcome.AWAY, "ReadTimeoutError")


def test_credentials_in_the_address_are_sent_as_basic_auth(receiver: Receiver):
    answer_of(f"http://wei%72:pass@{receiver.address}/")
    assert receiver.heard[0][0]["authorization"] == "Basic d2VpcjpwYXNz"


@pytest.mark.parametrize("url", ["ftp://s3cret/", "s3cret", "http://", "http://[s3cret/"])
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str):
    with pytest.raises(ConfigurationError, match="WEIR_ALERTS__WEBHOOK_URL") as caught:
        Webhook(SecretStr(url), timeout_s=5.0)
    assert "s3cret" not in str(caught.value)
