"""InfluxDB 1.8 by https, with a certificate of our own authority and accounts: what the settings make of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
import urllib3
from pydantic import SecretStr
from secured_mosquitto import Authorities

from deploy.local.ports import Ports
from deploy.local.servers import Installation, render_configuration, server_programs
from schemas import influx
from services.console.doctor import check_influx
from services.runtime.settings import InfluxSettings
from services.sink.outcomes import Verdict
from services.sink.writer import InfluxWriter

pytestmark = pytest.mark.slow

ACCOUNT = "weir:influx-S3cret"
LINE = [b"readings,tenant=acme value=21.5 1700000000000000000"]


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return Authorities(tmp_path_factory.mktemp("authorities"))


@pytest.fixture(scope="module")
def told(
    authorities: Authorities, tmp_path_factory: pytest.TempPathFactory, influx_version: int
) -> Iterator[InfluxSettings]:
    folder, ports = tmp_path_factory.mktemp("influx"), Ports.free()
    server = authorities.server("127.0.0.1")
    secured = f'[http]\n  https-enabled = true\n  https-certificate = "{server.certificate}"\n'
    secured += f'  https-private-key = "{server.key}"\n  auth-enabled = true\n'
    for path, content in render_configuration(folder, ports).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("[http]\n", secured))
    program = server_programs(Installation.find(1), folder, ports, 1)[-1]
    process = subprocess.Popen(program.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    settings = InfluxSettings(
        url=f"https://127.0.0.1:{ports.influx}", token=SecretStr(ACCOUNT), ca_file=authorities.weir, timeout_s=5
    )
    http = urllib3.PoolManager(ca_certs=str(authorities.weir), retries=False)
    name, password = ACCOUNT.split(":")
    create = f"CREATE USER {name} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"
    end = time.monotonic() + 60
    while True:
        try:
            assert http.request("POST", f"{settings.url}/query", fields={"q": create}).status == 200
            break
        except urllib3.exceptions.HTTPError:
            assert time.monotonic() < end, "InfluxDB did not start"
            time.sleep(0.1)
    for database in (influx.BUCKET, influx.BUCKET_LONG):
        fields, who = {"q": f"CREATE DATABASE {database}"}, urllib3.make_headers(basic_auth=ACCOUNT)
        assert http.request("POST", f"{settings.url}/query", fields=fields, headers=who).status == 200
    yield settings
    process.terminate()
    process.wait()


def test_lines_are_stored_and_doctor_is_content(told):
    assert InfluxWriter(told).write(influx.BUCKET, LINE).verdict is Verdict.STORED
    assert {check.verdict.value for check in check_influx(told)} == {"ok"}


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({"token": SecretStr("weir:influx-S3cret-wrong")}, Verdict.MISCONFIGURED),
        ({"token": None}, Verdict.MISCONFIGURED),
        ({"ca_file": None}, Verdict.LATER),
        ({"url": "localhost"}, Verdict.LATER),
    ],
    ids=["wrong password", "no token", "unknown authority", "wrong host name"],
)
def test_what_does_not_fit_is_waited_out_and_said_without_the_secret(told, wrong, verdict):
    if "url" in wrong:
        wrong = {"url": told.url.replace("127.0.0.1", "localhost")}
    outcome = InfluxWriter(told.model_copy(update=wrong)).write(influx.BUCKET, LINE)
    assert outcome.verdict is verdict
    assert "S3cret" not in str(outcome)
    if verdict is Verdict.LATER:
        assert "certificate verify failed" in outcome.why
