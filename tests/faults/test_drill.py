"""The drill's short form: two faults at once, and a zombie, on a real system under load; see tests/faults/drill."""

import json
import subprocess
import sys

from tests.faults.drill.plant import ROOT
from tests.faults.drill.rows import SHORT

DEADLINE_S = 900


def test_the_short_drill_loses_nothing_doubles_nothing_and_every_fault_bites(tmp_path):
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.faults.drill", "--short", "--seed", "1", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(results.read_text())}
    assert rows.keys() == set(SHORT)
    assert all(row["bite"] for row in rows.values())
