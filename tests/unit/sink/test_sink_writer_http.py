"""What the writer sends, and what it makes of any answer: against a small HTTP server with answers from a script."""

import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from services.runtime.settings import InfluxSettings
from services.sink.outcomes import Verdict
from services.sink.writer import InfluxWriter

_STOP_S = 0.01
"""How often a server looks whether it is to end; its own half second, once a test, is most of this file's time."""


class Scripted(ThreadingHTTPServer):
    """Answers with what stands first in `answers`: status, headers, body."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Scripted = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append((self.path, dict(self.headers), body))
        status, headers, answer = server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, args=(_STOP_S,))
    thread.start()
    yield scripted
    scripted.shutdown()
    thread.join()
    scripted.server_close()


@pytest.fixture
def writer(server: Scripted) -> Iterator[InfluxWriter]:
    made = InfluxWriter(
        InfluxSettings(
            url=server.url, org="plant", token=SecretStr("s3cret"), bucket="t", bucket_long="t_long", timeout_s=5.0
        )
    )
    yield made
    made.close()


def test_lines_go_out_in_one_request_with_ns_precision(server: Scripted, writer: InfluxWriter):
    server.answers = [(204, {}, b"")]
    assert writer.write("telemetry_long", [b"m v=1.0 1", b"m v=2.0 2"]).verdict is Verdict.STORED
    [(path, headers, body)] = server.requests
    assert urlsplit(path).path == "/api/v2/write"
    assert parse_qs(urlsplit(path).query) == {"org": ["plant"], "bucket": ["t_long"], "precision": ["ns"]}
    assert headers["Authorization"] == "Token s3cret"
    assert headers["Content-Encoding"] == "identity"
    assert headers["Content-Type"].startswith("text/plain")
    assert body == b"m v=1.0 1\nm v=2.0 2"


def test_lines_for_another_machine_go_out_compressed(server: Scripted, monkeypatch: pytest.MonkeyPatch):
    connect = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: connect("127.0.0.1", *more, **named))
    writer = InfluxWriter(InfluxSettings(url=server.url.replace("127.0.0.1", "influxdb.plant")))
    server.answers = [(204, {}, b"")]
    assert writer.write("telemetry", [b"m v=1.0 1"]).verdict is Verdict.STORED
    writer.close()
    [(_, headers, body)] = server.requests
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == b"m v=1.0 1"


def test_answers_keep_one_connection_and_their_order(server: Scripted, writer: InfluxWriter):
    error = b'{"error":"partial write: field type conflict dropped=1"}'
    server.answers = [(400, {}, error), (503, {"Retry-After": "9"}, b"busy"), (413, {}, b""), (204, {}, b"")]
    outcomes = [writer.write("telemetry", [b"m v=1.0 1"]) for _ in range(4)]
    assert [o.verdict for o in outcomes] == [Verdict.REFUSED, Verdict.LATER, Verdict.TOO_LARGE, Verdict.STORED]
    assert outcomes[0].dropped == 1
    assert outcomes[1].retry_after_s == 9.0


def test_an_answer_of_something_in_between_is_no_refusal(server: Scripted, writer: InfluxWriter):
    server.answers = [(502, {}, b"\xff\xfe not utf-8"), (307, {"Location": "http://127.0.0.1:1/"}, b"")]
    assert writer.write("telemetry", [b"m v=1.0 1"]).verdict is Verdict.LATER
    assert writer.write("telemetry", [b"m v=1.0 1"]).verdict is Verdict.MISCONFIGURED


def test_nobody_there_is_later():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    writer = InfluxWriter(InfluxSettings(url=f"http://127.0.0.1:{port}"))
    outcome = writer.write("telemetry", [b"m v=1.0 1"])
    assert outcome.verdict is Verdict.LATER
    assert "no answer" in outcome.why
    writer.close()


def test_silence_is_later_when_the_timeout_has_passed():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        writer = InfluxWriter(InfluxSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2))
        assert writer.write("telemetry", [b"m v=1.0 1"]).verdict is Verdict.LATER
        writer.close()


def test_the_token_is_in_no_outcome(server: Scripted, writer: InfluxWriter):
    server.answers = [(401, {}, b'{"code":"unauthorized","message":"unauthorized access"}')]
    outcome = writer.write("telemetry", [b"m v=1.0 1"])
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "s3cret" not in repr(outcome)
