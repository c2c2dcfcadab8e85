"""Every example in docs/rules.md is a rule that loads, and does what the table below it says."""

import re
from pathlib import Path

import pytest
from alert_records import SECOND_US, Device, anomaly, window

from services.alerts import rules
from services.runtime.errors import ConfigurationError

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```\n(.*?)(?=```yaml|\n## |\Z)", PAGE, re.DOTALL)
REFUSED = re.compile(r"```text\n(.*?)```", re.DOTALL)


def rows(text: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_page_has_examples():
    assert len(BLOCKS) == 7
    assert sum(bool(rows(text)) for _, text in BLOCKS) == 5


@pytest.mark.parametrize("example", BLOCKS, ids=lambda block: re.search(r"name: (\S+)", block[0])[1])
def test_example(example: tuple[str, str]):
    text, below = example
    if expected := REFUSED.search(below):
        with pytest.raises(ConfigurationError) as caught:
            rules.parse(text)
        assert str(caught.value) == expected[1].strip()
        return
    device, opened_s = Device(rules.parse(text)), 0.0
    for revision, row in enumerate(rows(below)):
        second = float(row["second"])
        if phase := row.get("anomaly"):
            opened_s = second if phase == "opened" else opened_s
            record = anomaly(phase, second, opened_s=opened_s, revision=revision, severity=row["severity"])
            events = device.read(record)
        else:
            events = device.read(window(second, float(row.get("mean", 20))))
        said = [f"{event.phase} at {event.at_us / SECOND_US:g}" for event in events]
        assert said == ([row["alarm"]] if row["alarm"] else []), row
