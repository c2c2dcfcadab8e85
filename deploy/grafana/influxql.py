"""InfluxQL as text, with Grafana's variables in it."""

from __future__ import annotations

from collections.abc import Iterable

TIME_FILTER = "$timeFilter"
PAST_WEEK = "time > now() - 7d"
INTERVAL = "time($__interval)"
"""In `by`: one value for each step of the graph."""


def select(
    what: str,
    source: str,
    where: Iterable[str] = (),
    *,
    by: Iterable[str] = (),
    fill: str = "",
    within: str = TIME_FILTER,
) -> str:
    """A query of a measurement (or, in parentheses, of another query), in the dashboard's time range or `within`.

    `where` are conditions that must all hold; `by` are tags, or `INTERVAL`; `fill` is what an empty step shows.
    """
    parts = [
        "SELECT",
        what,
        "FROM",
        source if source.startswith("(") else f'"{source}"',
        "WHERE",
        " AND ".join([*where, within]),
    ]
    if groups := [group if group == INTERVAL else f'"{group}"' for group in by]:
        parts += ["GROUP BY", ", ".join(groups)]
    if fill:
        parts.append(f"fill({fill})")
    return " ".join(parts)


def summed(each: str, source: str, where: Iterable[str] = (), *, by: Iterable[str] = (), fill: str = "") -> str:
    """The sum over a service's processes of what `each` is for one of them; see `select`."""
    of_each = select(f'{each} AS "each"', source, where, by=[*by, "instance"], fill=fill)
    return select('sum("each")', f"({of_each})", by=by, fill=fill)


def tag_values(measurement: str, key: str, where: Iterable[str] = ()) -> str:
    """The values of a tag, for a variable."""
    conditions = " AND ".join(where)
    return f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "{key}"' + (f" WHERE {conditions}" if conditions else "")


def chosen(*tags: str) -> list[str]:
    """Conditions: each tag is what the variable of its name says, one value, several or all."""
    return [f'"{tag}" =~ /^${{{tag}:regex}}$/' for tag in tags]


def latest_first(query: str, limit: int) -> str:
    """The query's last rows, the latest first."""
    return f"{query} ORDER BY time DESC LIMIT {limit}"
