"""Every secret setting with a value that one recognises in any spelling; and programs run with them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path

DEADLINE_S = 90.0
SECRETS = {
    "kafka": "kafka-S3cr&t/+one=",
    "mqtt": "mqtt-S3cr&t/+two=",
    "influx": "influx-S3cr&t/+three=",
    "hook": "hook-S3cr&t/+four=",
    "hook user": "hook-S3cr&tFive",
    "influx url": "influx-url-S3cr&tSix",
}
SERVICES = ("bridge", "stream", "sink", "alerts")
TOOLS = (("doctor",), ("config", "show"), ("status",), ("replay", "--duration", "3", "--devices", "2"))


def settings(folder: Path, *, influx: str, hook: str) -> dict[str, str]:
    """All secrets at once; `influx` and `hook` are host:port."""
    (folder / "mqtt-password").write_text(SECRETS["mqtt"])
    quoted = {name: urllib.parse.quote(value, safe="") for name, value in SECRETS.items()}
    return {
        "WEIR_LOG__LEVEL": "DEBUG",
        "WEIR_KAFKA__USERNAME": "weir",
        "WEIR_KAFKA__PASSWORD": SECRETS["kafka"],
        "WEIR_MQTT__USERNAME": "weir-bridge",
        "WEIR_MQTT__PASSWORD_FILE": str(folder / "mqtt-password"),
        "WEIR_INFLUX__URL": f"http://weir:{quoted['influx url']}@{influx}",
        "WEIR_INFLUX__TOKEN": SECRETS["influx"],
        "WEIR_ALERTS__WEBHOOK_URL": f"http://weir:{quoted['hook user']}@{hook}/hook?token={quoted['hook']}",
        "WEIR_STREAM__DATA_DIR": str(folder / "stream"),
        **{f"WEIR_{service.upper()}__HTTP_PORT": "0" for service in SERVICES},
    }


def forms(secret: str) -> set[str]:
    """The secret as it is, quoted for URLs, JSON, Python and hexadecimal, and inside base64 at any offset."""
    found = {secret, urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    found |= {
        secret.encode().hex(),
        secret.replace("/", "\\/"),
        secret.replace("&", "\\u0026"),
        secret.replace("&", "&amp;"),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            whole = encode(b"x" * before + secret.encode()).decode()
            # What depends on the neighbours is left out.
            found.add(whole[4 if before else 0 : len(whole) // 4 * 4 - 4])
    return found


def leaks(text: str) -> dict[str, str]:
    """Secret's name -> the form in which it stands in the text."""
    return {name: form for name, secret in SECRETS.items() for form in forms(secret) if form in text}


def run(command: tuple[str, ...], told: Mapping[str, str], log: Path, enough: Callable[[str], bool]) -> str:
    """All that a command says until it is `enough`, and while it leaves."""
    weir = Path(sys.executable).with_name("weir")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WEIR_", "LOCAL_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [weir, *command],
            env={**clean, **told, "COLUMNS": "1000", "LOCAL_RUN_DIR": str(log.parent / "no-run")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    end = time.monotonic() + DEADLINE_S
    while process.poll() is None and not enough(log.read_text()):
        assert time.monotonic() < end, f"weir {' '.join(command)} did not come to it:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)
    process.terminate()
    process.wait(DEADLINE_S)
    return log.read_text()
