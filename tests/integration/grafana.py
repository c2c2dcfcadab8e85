"""What Grafana makes of a dashboard's queries before InfluxDB sees them: variables, time range, steps."""

import re
from collections.abc import Mapping, Sequence

ALL = object()
"""The choice "All"."""


def filled(query: str, chosen: Mapping[str, object], from_ms: int, to_ms: int, interval: str) -> str:
    """The query as InfluxDB gets it. `chosen`: variable -> a value, several, or `ALL`."""

    def value_of(match: re.Match[str]) -> str:
        choice = chosen[match[1]]
        if choice is ALL:
            return ".*"
        values = [choice] if isinstance(choice, str) else choice
        assert isinstance(values, Sequence)
        escaped = [re.sub(r"[\\^$*+?.()|[\]{}/]", r"\\\g<0>", value) for value in values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    text = re.sub(r"\$\{(\w+):regex\}", value_of, query)
    text = text.replace("$timeFilter", f"time >= {from_ms}ms and time <= {to_ms}ms")
    text = text.replace("$__interval_ms", str(milliseconds(interval))).replace("$__interval", interval)
    assert not re.search(r"\$[\w{]", text), f"Grafana does not know a variable in {text}"
    return text


def milliseconds(interval: str) -> int:
    """An interval as Grafana writes it, in ms."""
    return int(interval[:-1]) * {"s": 1000, "m": 60_000}[interval[-1]]
