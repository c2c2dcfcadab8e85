"""The results as Markdown, between two marks of docs/performance.md. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.figures import Entry, Results

BEGIN: Final = "<!-- bench: begin, written by `make bench` -->"
END: Final = "<!-- bench: end -->"

TITLES: Final = {
    "stream_gaussian": "Stream, GaussianScorer",
    "stream_hst": "Stream, HalfSpaceTrees 5x4 behind a scaler",
    "mqtt_to_kafka": "MQTT → Kafka, QoS 1",
    "kafka_to_influxdb": "Kafka → InfluxDB",
    "end_to_end": "End to end",
    "scale": "Scale",
    "state": "State",
    "scoring": "Scoring",
}
_ROW: Final = re.compile(r"(.+)_(\d+)_devices")


def put_into(page: str, text: str) -> str:
    """The page with `text` between the marks. Raises `ValueError` where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks to write between")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def render(results: Results, circumstances: str) -> str:
    """Tables of all rows that there are. `circumstances`: when and where they were measured."""
    parts = [circumstances]
    for row, stage in results.items():
        if row in _SHOWN:
            continue
        parts.append(f"### {title_of(row)}\n\n{_costs(stage)}")
    for row, show in _SHOWN.items():
        if row in results:
            own = results[row].get("weir", {})
            table = f"**Failed**: {own['error']}" if "error" in own else show(results[row])
            parts.append(f"### {title_of(row)}\n\n{table}")
    return "\n\n".join(parts)


def _scoring(stage: Mapping[str, Entry]) -> str:
    lines = [
        f"| `{name}` | {figures['us_per_reading']} | {figures.get('kb_per_sensor', '')} |"
        for name, figures in stage.items()
    ]
    return "| model | CPU µs a reading | kB a sensor |\n|---|---|---|\n" + "\n".join(lines)


def title_of(row: str) -> str:
    """A row's heading."""
    if many := _ROW.fullmatch(row):
        return f"{TITLES.get(many[1], many[1])}, {int(many[2]):,} devices"
    return TITLES.get(row, row)


def _costs(stage: Mapping[str, Entry]) -> str:
    head = "| contender | CPU s per million messages | spread | times Weir's | messages/s | MiB | runs x messages | |\n"
    lines = [_cost_line(name, figures) for name, figures in sorted(stage.items(), key=_by_cost)]
    return head + "|---|---|---|---|---|---|---|---|\n" + "\n".join(lines)


def _by_cost(item: tuple[str, Entry]) -> float:
    cost: float = item[1].get("cpu_s_per_million", float("inf"))
    return cost


def _cost_line(name: str, figures: Entry) -> str:
    if "error" in figures:
        return f"| {name} | **failed**: {' '.join(figures['error'].split())[:200].replace('|', '/')} | | | | | | |"
    low, high = figures["spread"]
    own = "**" if name == "weir" else ""
    return (
        f"| {own}{name}{own} | {figures['cpu_s_per_million']:.1f} | {low:.1f}..{high:.1f}"
        f" | {figures.get('times_weir', '')} | {figures['per_s']:,} | {figures['rss_mb']}"
        f" | {figures['runs']} x {figures['messages']:,} | {figures.get('notes', '')} |"
    )


def _end_to_end(stage: Mapping[str, Any]) -> str:
    figures = stage["weir"]
    parts = [
        f"Flat lag for {figures['held_s']:.0f} s at **{figures['per_s']:,} messages/s**"
        f" ({figures['readings_per_s']:,} readings/s); a flood drained at {figures['flood_per_s']:,} messages/s."
        f" {figures['notes']}.",
        "| share of that rate | messages/s | p50 ms | p99 ms | p99.9 ms | probes | load generator late ms |\n"
        "|---|---|---|---|---|---|---|\n"
        + "\n".join(
            f"| {share} | {at['rate_per_s']:,} | {at['p50']} | {at['p99']} | {at['p99.9']} | {at['probes']}"
            f" | {at['load_generator_late_ms']} |"
            for share, at in figures["latency_ms"].items()
        ),
        "| process | CPU s per million messages |\n|---|---|\n"
        + "\n".join(f"| {name} | {cost} |" for name, cost in figures["cpu_s_per_million_by_process"].items())
        + f"\n| all | {figures['cpu_s_per_million']} |",
    ]
    return "\n\n".join(parts)


def _scale(stage: Mapping[str, Any]) -> str:
    figures = stage["weir"]
    rows = [
        f"| {name.replace('_', ', ')} | {one['cpu_s_per_million']} | {one['per_s']:,}"
        f" | {' / '.join(f'{share:.0%}' for share in one['share_of_cpu'])}"
        f" | {' / '.join(map(str, one.get('partitions', [])))}"
        f" | {' / '.join(f'{records:,}' for records in one.get('records_by_partition', []))} |"
        for name, one in figures.items()
        if "per_s" in one
    ]
    head = "| processes | CPU s per million messages | messages/s | CPU of each | partitions | records by partition |\n"
    return (
        head
        + "|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nOne of two stream workers asked to leave under load: no partition stood still longer than"
        f" {figures['rebalance']['longest_standstill_s']} s, and no message was worked off twice."
    )


_STATE: Final = {
    "memory_bytes": "bytes of memory a device",
    "memory_beside_models_bytes": "of these beside the models",
    "changelog_bytes": "bytes a checkpointed change",
    "changelog_beside_models_bytes": "of these beside the models",
    "changelog_pages_bytes": "bytes of closed windows a device, written when one closes",
    "checkpoint_us": "CPU µs a checkpointed device",
    "restart_cpu_s": "CPU s to start from all state",
    "first_touch_us": "CPU µs of a device's first message after that",
}


def _state(stage: Mapping[str, Entry]) -> str:
    by_devices = stage["weir"]
    head = (
        "| | "
        + " | ".join(f"{figures['devices']:,} devices, `{figures['model']}`" for figures in by_devices.values())
        + " |\n"
    )
    lines = [
        f"| {title} | " + " | ".join(f"{figures.get(name, '')}" for figures in by_devices.values()) + " |"
        for name, title in _STATE.items()
    ]
    return head + "|---" * (len(by_devices) + 1) + "|\n" + "\n".join(lines)


_SHOWN: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "end_to_end": _end_to_end,
    "scale": _scale,
    "state": _state,
    "scoring": _scoring,
}
"""Rows that are not costs of contenders, in the order of the page."""
