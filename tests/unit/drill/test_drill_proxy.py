"""The proxy, between two sockets of this process."""

import gzip
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.drill.http_requests import Requests
from tests.faults.drill.proxy import InfluxLink, Link

_STOP_S = 0.01
"""How often a server looks whether it is to end; its own half second, once a test, is most of this file's time."""


class Echo:
    """Sends back what it gets; `closed` counts the connections that ended."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.closed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        try:
            while data := taken.recv(65536):
                taken.sendall(data)
        except OSError:
            pass
        self.closed += 1
        taken.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    served = Echo()
    yield served
    served.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    made = Link("a-b", echo.address)
    yield made
    made.close()


def connected(link: Link) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", link.port), timeout=10)
    client.sendall(b"hello")
    assert client.recv(10) == b"hello"
    return client


def until(condition, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_passes_bytes_both_ways_and_counts_them(link):
    client = connected(link)
    sent = b"x" * 3_000_000
    threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
    got = b""
    while len(got) < len(sent):
        got += client.recv(1 << 20)
    assert got == sent
    assert link.bytes_passed == 2 * (len(sent) + 5)


def test_a_close_is_passed_on(link, echo):
    connected(link).close()
    until(lambda: echo.closed == 1)
    until(lambda: link.connections == 0)


def test_cut_resets_both_sides_and_lets_new_connections_through(link, echo):
    client = connected(link)
    assert link.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    until(lambda: echo.closed == 1)
    assert link.connections_cut == 1
    connected(link)


def test_half_open_swallows_all_and_tells_nobody_until_it_is_healed(link, echo):
    client, leaving = connected(link), connected(link)
    link.half_open()
    client.sendall(b"lost")
    leaving.close()
    new = socket.create_connection(("127.0.0.1", link.port), timeout=10)
    new.sendall(b"too")
    until(lambda: link.bytes_swallowed == 7)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(10)
    assert echo.closed == 0
    link.heal()
    client.settimeout(10)
    for one in (client, new):
        with pytest.raises(ConnectionResetError):
            one.recv(10)
    assert link.connections_cut == 3
    until(lambda: echo.closed == 2)
    connected(link)


def test_down_refuses_and_up_takes_again_on_the_same_port(link):
    client = connected(link)
    link.down()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", link.port), timeout=10)
    link.up()
    connected(link)


def test_slow_delays_and_keeps_the_order(link):
    client = connected(link)
    link.slow(0.1)
    began = time.monotonic()
    parts = [b"%d," % number for number in range(200)]
    for part in parts:
        client.sendall(part)
    got = b""
    while len(got) < len(b"".join(parts)):
        got += client.recv(1 << 20)
    assert got == b"".join(parts)
    assert time.monotonic() - began >= 0.2


def test_an_upstream_that_is_away_resets_the_client():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    link = Link("a-b", address)
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", link.port), timeout=10) as client:
        client.recv(10)
    assert link.connections_refused == 1
    link.close()


# ------------------------------------------------------------------------------------------------------------- InfluxDB


class Database:
    """Takes writes and remembers their lines."""

    def __init__(self) -> None:
        written = self.written = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                written.extend((gzip.decompress(body) if self.headers["Content-Encoding"] else body).split(b"\n"))
                self.send_response(204)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(_STOP_S,), daemon=True).start()


@pytest.fixture
def database() -> Iterator[Database]:
    served = Database()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def influx(database: Database) -> Iterator[InfluxLink]:
    made = InfluxLink("sink-influxdb", database.server.server_address)
    yield made
    made.close()


def write(link: InfluxLink, *lines: bytes) -> tuple[int, dict[str, str], bytes]:
    url = f"http://127.0.0.1:{link.port}/api/v2/write?bucket=telemetry"
    request = urllib.request.Request(url, gzip.compress(b"\n".join(lines)), {"Content-Encoding": "gzip"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_writes_pass_until_an_answer_is_ordered_and_again_after_it(influx, database):
    assert write(influx, b"a v=1 1")[0] == 204
    influx.answer(429, {"Retry-After": "2"}, "slower")
    status, headers, body = write(influx, b"b v=1 1")
    assert (status, headers["Retry-After"], body) == (429, "2", b"slower")
    with urllib.request.urlopen(f"http://127.0.0.1:{influx.port}/query?q=x", timeout=10) as answer:
        assert answer.read() == b"{}"
    influx.pass_all()
    assert write(influx, b"c v=1 1")[0] == 204
    assert database.written == [b"a v=1 1", b"c v=1 1"]
    assert (influx.refused, influx.writes) == (1, 2)


def test_a_share_of_writes_is_answered(influx):
    influx.answer(500, share=0.25)
    assert [write(influx, b"a v=1 1")[0] for _ in range(8)] == [204, 204, 204, 500, 204, 204, 204, 500]


def test_a_write_with_a_refused_line_is_answered_400_and_stores_nothing(influx, database):
    influx.refuse_line(lambda line: b"bad" in line)
    assert write(influx, b"a v=1 1", b"bad v=1 1")[0] == 400
    assert write(influx, b"a v=1 1")[0] == 204
    assert database.written == [b"a v=1 1"]


def test_a_write_is_held_back(influx, database):
    influx.delay(0.2)
    began = time.monotonic()
    assert write(influx, b"a v=1 1")[0] == 204
    assert time.monotonic() - began >= 0.2
    assert database.written == [b"a v=1 1"]


def test_requests_are_cut_wherever_the_bytes_break():
    raw = b"POST /write?db=a HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\n\r\nabcGET /ping HTTP/1.1\r\n\r\n"
    requests = Requests()
    found = [request for at in range(len(raw)) for request in requests.feed(raw[at : at + 1])]
    assert [(r.path, r.body, r.is_write) for r in found] == [
        (b"/write?db=a", b"abc", True),
        (b"/ping", b"", False),
    ]
    assert b"".join(r.raw for r in found) == raw
